//! From a policy's text to programs.

use std::sync::LazyLock;

use expressions::{Environment, Error, Program, Shape, Type};
use objects::Cause;
use serde::de::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{list, text};

/// A policy whose expressions are compiled. What does not compile holds for nobody and is a fault.
#[derive(Debug, Default)]
pub struct Compiled {
    /// Which requests it is about.
    pub constraints: Value,
    /// The kind of its parameters; null where it has none.
    pub param_kind: Value,
    /// Whether what gives no value is passed over.
    pub ignores: bool,
    /// Conditions, with their text: all must hold for the policy to be asked.
    pub conditions: Vec<(String, Program)>,
    /// Variables, each with those before it.
    pub variables: Vec<(String, Program)>,
    /// What must hold.
    pub rules: Vec<Rule>,
    /// What does not compile, for whoever writes the policy.
    pub faults: Vec<Cause>,
}

/// One validation.
#[derive(Debug)]
pub struct Rule {
    /// Its text.
    pub source: String,
    /// The expression.
    pub program: Program,
    /// What is told when it does not hold.
    pub message: Option<String>,
    /// What computes that.
    pub message_program: Option<Program>,
    /// The reason of the refusal.
    pub reason: String,
}

/// So that the state decodes a policy once for each revision, and drops the programs with it.
impl<'de> Deserialize<'de> for Compiled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|policy| Self::of(&policy))
    }
}

impl Compiled {
    /// Compiles a policy.
    pub fn of(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let mut compiled = Self {
            constraints: spec["matchConstraints"].clone(),
            param_kind: spec["paramKind"].clone(),
            ignores: spec["failurePolicy"] == "Ignore",
            ..Self::default()
        };
        let mut environment = environment(!spec["paramKind"].is_null());
        for (index, condition) in list(&spec["matchConditions"]).enumerate() {
            let (path, source) = (format!("spec.matchConditions[{index}].expression"), &condition["expression"]);
            if let Some(program) = compiled.program(&environment, &path, source, &[Type::Bool]) {
                compiled.conditions.push((text(source).trim().to_owned(), program));
            }
        }
        let mut fields: Vec<(String, Shape)> = Vec::new();
        environment = environment.with("variables", Shape::object("kubernetes.variables", fields.clone()));
        for (index, variable) in list(&spec["variables"]).enumerate() {
            let (path, source) = (format!("spec.variables[{index}].expression"), &variable["expression"]);
            if let Some(program) = compiled.program(&environment, &path, source, &[]) {
                let name = text(&variable["name"]).to_owned();
                fields.push((name.clone(), program.result().clone()));
                environment = environment.with("variables", Shape::object("kubernetes.variables", fields.clone()));
                compiled.variables.push((name, program));
            }
        }
        for (index, validation) in list(&spec["validations"]).enumerate() {
            let path = format!("spec.validations[{index}]");
            let source = &validation["expression"];
            let program = compiled.program(&environment, &format!("{path}.expression"), source, &[Type::Bool]);
            let message = &validation["messageExpression"];
            let message_program = (!text(message).is_empty())
                .then(|| compiled.program(&environment, &format!("{path}.messageExpression"), message, &[Type::String]))
                .flatten();
            if let Some(program) = program {
                compiled.rules.push(Rule {
                    source: text(source).trim().to_owned(),
                    program,
                    message: validation["message"]
                        .as_str()
                        .map(|text| text.trim().to_owned())
                        .filter(|text| !text.is_empty()),
                    message_program,
                    reason: validation["reason"].as_str().unwrap_or("Invalid").to_owned(),
                });
            }
        }
        for (index, annotation) in list(&spec["auditAnnotations"]).enumerate() {
            let path = format!("spec.auditAnnotations[{index}].valueExpression");
            compiled.program(&environment, &path, &annotation["valueExpression"], &[Type::String, Type::Null]);
        }
        compiled
    }

    /// A program that gives one of `types` (any, where there is none); `None` for a fault, which is noted.
    fn program(&mut self, environment: &Environment, path: &str, source: &Value, types: &[Type]) -> Option<Program> {
        let outcome = environment.compile(text(source)).and_then(|program| {
            if !types.is_empty() {
                program.require(types, true)?;
            }
            Ok(program)
        });
        outcome.map_err(|why| self.fault(path, text(source), &why)).ok()
    }

    fn fault(&mut self, path: &str, source: &str, why: &Error) {
        self.faults.push(Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {source:?}: {why}"),
            field: path.to_owned(),
        });
    }
}

fn environment(params: bool) -> Environment {
    let mut environment = Environment::default()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("namespaceObject", Type::Dyn)
        .with("request", request_shape().clone());
    if params {
        environment = environment.with("params", Type::Dyn);
    }
    environment
}

/// The type of `request`: upstream's AdmissionRequest without the objects, which have variables of their own.
pub fn request_shape() -> &'static Shape {
    static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
        let texts = |name: &str, fields: &[&str]| {
            Shape::object(name, fields.iter().map(|field| ((*field).to_owned(), Type::String.into())))
        };
        let kind = texts("kubernetes.GroupVersionKind", &["group", "version", "kind"]);
        let resource = texts("kubernetes.GroupVersionResource", &["group", "version", "resource"]);
        let strings = || Type::list(Type::String);
        let user = Shape::object(
            "kubernetes.UserInfo",
            [
                ("username".to_owned(), Type::String.into()),
                ("uid".to_owned(), Type::String.into()),
                ("groups".to_owned(), strings().into()),
                ("extra".to_owned(), Type::map(Type::String, strings()).into()),
            ],
        );
        let mut fields: Vec<(String, Shape)> = vec![
            ("kind".into(), kind.clone()),
            ("requestKind".into(), kind),
            ("resource".into(), resource.clone()),
            ("requestResource".into(), resource),
            ("userInfo".into(), user),
            ("dryRun".into(), Type::Bool.into()),
            ("options".into(), Type::Dyn.into()),
        ];
        for name in ["subResource", "requestSubResource", "name", "namespace", "operation"] {
            fields.push((name.into(), Type::String.into()));
        }
        Shape::object("kubernetes.AdmissionRequest", fields)
    });
    &SHAPE
}
