//! Where a value stands, in the form that causes name it: `spec.versions[0].schema`, `properties[spec].type`.
//!
//! A place lives on the stack beside the recursion that walks there, so that a path becomes text only when there is a
//! fault to report.

use std::fmt;

/// A path that is as long as the recursion is deep. Spelled as upstream's `field.Path`.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    /// The object itself.
    pub(crate) const ROOT: Place<'static> = Place { above: None, step: Step::Root };

    /// The first field of a path, or a path that exists as text.
    pub(crate) fn at(text: &'a str) -> Self {
        Self { above: None, step: if text.is_empty() { Step::Root } else { Step::Field(text) } }
    }

    /// `.name`
    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self { above: Some(self), step: Step::Field(name) }
    }

    /// `[name]`
    pub(crate) fn key(&'a self, name: &'a str) -> Self {
        Self { above: Some(self), step: Step::Key(name) }
    }

    /// `[index]`
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { above: Some(self), step: Step::Index(index) }
    }

    fn write(&self, out: &mut String) {
        use fmt::Write as _;
        if let Some(above) = self.above {
            above.write(out);
        }
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Key(name) => {
                out.push('[');
                out.push_str(name);
                out.push(']');
            }
            // Writing to a String does not fail.
            Step::Index(index) => drop(write!(out, "[{index}]")),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        out.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_upstreams_paths() {
        let (root, spec) = (Place::ROOT, Place::at("spec"));
        let versions = spec.field("versions");
        let first = versions.index(0);
        let properties = first.field("properties");
        assert_eq!(root.to_string(), "");
        assert_eq!(root.field("spec").to_string(), "spec");
        assert_eq!(root.index(1).to_string(), "[1]");
        assert_eq!(properties.key("a.b").to_string(), "spec.versions[0].properties[a.b]");
    }
}
