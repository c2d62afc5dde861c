//! Why a definition, a schema or a path cannot be read.

/// Something that cannot be understood; what is understood and wrong is a list of causes instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value of the wrong type: the path within the schema or the definition, and what stands there.
    #[error("{path}: expected {expected}, got {found}")]
    Malformed {
        /// Where, as `properties[spec].maxLength`.
        path: String,
        /// What should be there, as `integer`.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A keyword that structural schemas do not have; upstream's text.
    #[error("OpenAPIV3Schema '{0}' is not supported")]
    Keyword(&'static str),
    /// `items` that lists several schemas; upstream's text.
    #[error("OpenAPIV3Schema 'items' must be a schema, but is an array")]
    ItemsArray,
    /// A pattern that is no regular expression of Go's syntax, or one that is too dear.
    #[error("{0}")]
    Pattern(String),
    /// A schema that nests deeper than [`crate::schema::DEPTH_MAX`].
    #[error("the schema nests deeper than {0} levels")]
    TooDeep(usize),
    /// A schema of more than [`crate::schema::NODES_MAX`] schemas.
    #[error("the schema holds more than {0} schemas")]
    TooLarge(usize),
    /// A JSONPath outside the supported subset.
    #[error("{0}")]
    Path(String),
    /// A definition without something that validation requires.
    #[error("the definition has no {0}")]
    Missing(&'static str),
    /// A conversion that a webhook refused or answered wrongly; upstream's text.
    #[error("{0}")]
    Conversion(String),
}
