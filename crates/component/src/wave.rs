//! Values and calls as text, in WAVE: `f(1, "x")`, `{name: "a", tags: ["b"]}`, `some(ok('c'))`.
//!
//! A text is read by the types that it stands for, so `1` is a number of any size and `a` a case of any variant. What
//! [`Val`] prints can be read again, but for handles, which have no text.
//!
//! *Invariant:* a text of any length and depth is a value or an error: the parser bounds how deep it goes, and types are no
//! deeper than [`MAX_TYPE_DEPTH`](crate::types::MAX_TYPE_DEPTH).

use std::fmt;

use tiered::decode::printable::{Line, Name};
use wasm_wave::ast::Node;
use wasm_wave::parser::ParserError;
use wasm_wave::untyped::{UntypedFuncCall, UntypedValue};

use crate::types::{Case, FuncType, Label, TypeDef, Types, ValType};
use crate::val::Val;

/// Why a text is no value, or no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveError(String);

impl fmt::Display for WaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WaveError {}

/// A call as text: a function's name, and arguments whose types are not known yet.
pub struct Call<'a> {
    name: &'a str,
    /// The arguments in parentheses; none if there are none.
    args: Option<UntypedFuncCall<'static>>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Call<'a> {
    /// Reads `name(argument, …)`; a name alone is a call without arguments. The name may be anything in front of a
    /// parenthesis, so it may have an interface's in it.
    ///
    /// # Errors
    /// What is behind the name is no list of values.
    pub fn parse(text: &'a str) -> Result<Call<'a>, WaveError> {
        let Some(paren) = text.find('(') else {
            return Ok(Call {
                name: text.trim(),
                args: None,
            });
        };
        let (name, args) = text.split_at(paren);
        // The parser takes fewer names than there are.
        let source = format!("f{args}");
        let call = UntypedFuncCall::parse(&source).map_err(|error| located(&error, &source))?;
        Ok(Call {
            name: name.trim(),
            args: Some(call.into_owned()),
        })
    }

    /// The function's name, as written.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The arguments as a function of the type `ty` takes them. Those that are left out at the end are `none`, where the
    /// type has options.
    ///
    /// # Errors
    /// There are too many, too few, or one is not of its parameter's type.
    pub fn args(&self, types: &Types, ty: &FuncType) -> Result<Vec<Val>, WaveError> {
        let tuple = self.args.as_ref().and_then(UntypedFuncCall::params_node);
        let nodes: Vec<&Node> = match tuple {
            Some(tuple) => tuple.as_tuple().map_err(plain)?.collect(),
            None => Vec::new(),
        };
        let params = ty.params();
        let least = params.iter().rposition(|param| !is_option(types, param.ty));
        let least = least.map_or(0, |last| last + 1);
        if nodes.len() < least || nodes.len() > params.len() {
            let list = params
                .iter()
                .map(|param| format!("{}: {}", Line(&param.name), types.display(param.ty)));
            return Err(WaveError(format!(
                "the function takes {} arguments, {} given; they are ({})",
                params.len(),
                nodes.len(),
                list.collect::<Vec<_>>().join(", ")
            )));
        }
        let source = self.args.as_ref().map_or("", UntypedFuncCall::source);
        let given = nodes.iter().map(Some).chain(std::iter::repeat(None));
        let args = params.iter().zip(given).map(|(param, node)| match node {
            Some(node) => {
                let read = Reader { types, source }.value(node, param.ty);
                read.map_err(|WaveError(reason)| {
                    WaveError(format!("argument {:?}: {reason}", Name(&param.name)))
                })
            }
            None => Ok(Val::none()),
        });
        args.collect()
    }
}

/// The value of the type `ty` that a text stands for.
///
/// # Errors
/// It stands for none.
pub fn parse(text: &str, types: &Types, ty: ValType) -> Result<Val, WaveError> {
    let untyped = UntypedValue::parse(text).map_err(|error| located(&error, text))?;
    Reader {
        types,
        source: text,
    }
    .value(untyped.node(), ty)
}

fn is_option(types: &Types, ty: ValType) -> bool {
    matches!(ty, ValType::Defined(id) if matches!(types.def(id), TypeDef::Option(_)))
}

/// Whether no value of a type can be taken for an option or a result.
fn is_plain(types: &Types, ty: ValType) -> bool {
    let ValType::Defined(id) = ty else {
        return true;
    };
    !matches!(
        types.def(id),
        TypeDef::Variant(_)
            | TypeDef::Enum(_)
            | TypeDef::Option(_)
            | TypeDef::Result { .. }
            | TypeDef::Flags(_)
    )
}

/// An error of the parser's, without a place.
fn plain(error: ParserError) -> WaveError {
    WaveError(error.kind().to_string())
}

/// An error of the parser's, with what stands at its place.
fn located(error: &ParserError, text: &str) -> WaveError {
    let span = error.span();
    let kind = error.kind();
    match text.get(span) {
        None | Some("") => WaveError(kind.to_string()),
        Some(part) => WaveError(format!("{kind} at `{}`", Line(part))),
    }
}

/// Reads values from a text that was parsed.
struct Reader<'a> {
    types: &'a Types,
    source: &'a str,
}

impl Reader<'_> {
    fn value(&self, node: &Node, ty: ValType) -> Result<Val, WaveError> {
        let source = self.source;
        let value = match ty {
            ValType::Bool => node.as_bool().map(Val::Bool),
            ValType::S8 => node.as_number(source).map(Val::S8),
            ValType::U8 => node.as_number(source).map(Val::U8),
            ValType::S16 => node.as_number(source).map(Val::S16),
            ValType::U16 => node.as_number(source).map(Val::U16),
            ValType::S32 => node.as_number(source).map(Val::S32),
            ValType::U32 => node.as_number(source).map(Val::U32),
            ValType::S64 => node.as_number(source).map(Val::S64),
            ValType::U64 => node.as_number(source).map(Val::U64),
            ValType::F32 => node.as_number(source).map(Val::F32),
            ValType::F64 => node.as_number(source).map(Val::F64),
            ValType::Char => node.as_char(source).map(Val::Char),
            ValType::String => node
                .as_str(source)
                .map(|text| Val::String(text.into_owned())),
            ValType::Defined(id) => return self.defined(node, ty, self.types.def(id)),
            ValType::Own(_) | ValType::Borrow(_) | ValType::ErrorContext => {
                return Err(self.no_text(ty));
            }
        };
        value.map_err(|_| self.is_none_of(node, ty))
    }

    fn defined(&self, node: &Node, ty: ValType, def: &TypeDef) -> Result<Val, WaveError> {
        let wrong = |_| self.is_none_of(node, ty);
        match def {
            TypeDef::List(element) => {
                let nodes = node.as_list().map_err(wrong)?;
                nodes
                    .map(|node| self.value(node, *element))
                    .collect::<Result<_, _>>()
                    .map(Val::List)
            }
            TypeDef::FixedList(element, length) => {
                let nodes = node.as_list().map_err(wrong)?;
                if nodes.len() != *length as usize {
                    return Err(self.is_none_of(node, ty));
                }
                nodes
                    .map(|node| self.value(node, *element))
                    .collect::<Result<_, _>>()
                    .map(Val::List)
            }
            TypeDef::Tuple(types) => {
                let nodes = node.as_tuple().map_err(wrong)?;
                if nodes.len() != types.len() {
                    return Err(self.is_none_of(node, ty));
                }
                let values = nodes.zip(types).map(|(node, ty)| self.value(node, *ty));
                values.collect::<Result<_, _>>().map(Val::Tuple)
            }
            TypeDef::Map(key, value) => {
                let pairs = node.as_map().map_err(wrong)?;
                let pairs = pairs.map(|(a, b)| Ok((self.value(a, *key)?, self.value(b, *value)?)));
                pairs.collect::<Result<_, _>>().map(Val::Map)
            }
            TypeDef::Record(_) => self.record(node, ty, def),
            TypeDef::Variant(cases) => {
                let (name, payload) = node.as_variant(self.source).map_err(wrong)?;
                let case = cases.iter().find(|case| &*case.name == name);
                let case = case.ok_or_else(|| self.is_none_of(node, ty))?;
                self.case(node, ty, case, payload)
            }
            TypeDef::Enum(labels) => {
                let name = node.as_enum(self.source).map_err(wrong)?;
                let label = labels.iter().find(|label| &***label == name);
                let label = label.ok_or_else(|| self.is_none_of(node, ty))?;
                Ok(Val::Enum(label.clone()))
            }
            TypeDef::Flags(labels) => {
                let names = node.as_flags(self.source).map_err(wrong)?;
                let label = |name| labels.iter().find(|label| &***label == name);
                let set = names
                    .map(|name| label(name).cloned())
                    .collect::<Option<Vec<Label>>>();
                set.map(Val::Flags).ok_or_else(|| self.is_none_of(node, ty))
            }
            TypeDef::Option(some) => self.option(node, ty, *some),
            TypeDef::Result { ok, err } => {
                // A value by itself is an `ok` of it, if it is plain.
                let parts = match node.as_result() {
                    Ok(parts) => parts,
                    Err(_) if ok.is_some_and(|ty| is_plain(self.types, ty)) => Ok(Some(node)),
                    Err(_) => return Err(self.is_none_of(node, ty)),
                };
                let read = |payload, of| self.payload(node, ty, payload, of);
                Ok(Val::Result(match parts {
                    Ok(payload) => Ok(read(payload, *ok)?),
                    Err(payload) => Err(read(payload, *err)?),
                }))
            }
            TypeDef::Stream(_) | TypeDef::Future(_) => Err(self.no_text(ty)),
        }
    }

    /// Fields of records in their order; those that are options may be left out.
    fn record(&self, node: &Node, ty: ValType, def: &TypeDef) -> Result<Val, WaveError> {
        let TypeDef::Record(fields) = def else {
            return Err(self.is_none_of(node, ty));
        };
        // `{:}` is one without fields; those that are there have names.
        let given = node
            .as_record(self.source)
            .map_err(|_| self.is_none_of(node, ty))?;
        let given: Vec<(&str, &Node)> = given.collect();
        let known = |name: &str| fields.iter().any(|field| &*field.name == name);
        if let Some((name, _)) = given.iter().find(|(name, _)| !known(name)) {
            return Err(WaveError(format!(
                "{} has no field {:?}",
                self.types.display(ty),
                Name(name)
            )));
        }
        let values = fields.iter().map(|field| {
            let found = given.iter().find(|(name, _)| *name == &*field.name);
            let value = match found {
                Some((_, node)) => self.value(node, field.ty)?,
                None if is_option(self.types, field.ty) => Val::none(),
                None => {
                    let name = Name(&field.name);
                    return Err(WaveError(format!("the field {name:?} is missing")));
                }
            };
            Ok((field.name.clone(), value))
        });
        values.collect::<Result<_, _>>().map(Val::Record)
    }

    fn case(
        &self,
        node: &Node,
        ty: ValType,
        case: &Case,
        payload: Option<&Node>,
    ) -> Result<Val, WaveError> {
        let payload = self.payload(node, ty, payload, case.ty)?;
        Ok(Val::Variant(case.name.clone(), payload))
    }

    /// `some(value)` and `none`; a value by itself is a `some` of it, if it is plain.
    fn option(&self, node: &Node, ty: ValType, some: ValType) -> Result<Val, WaveError> {
        match node.as_option() {
            Ok(None) => Ok(Val::none()),
            Ok(Some(node)) => self.value(node, some).map(Val::some),
            Err(_) if is_plain(self.types, some) => self.value(node, some).map(Val::some),
            Err(_) => Err(self.is_none_of(node, ty)),
        }
    }

    fn payload(
        &self,
        node: &Node,
        ty: ValType,
        payload: Option<&Node>,
        of: Option<ValType>,
    ) -> Result<Option<Box<Val>>, WaveError> {
        match (payload, of) {
            (None, None) => Ok(None),
            (Some(payload), Some(of)) => self.value(payload, of).map(|value| Some(Box::new(value))),
            _ => Err(self.is_none_of(node, ty)),
        }
    }

    fn is_none_of(&self, node: &Node, ty: ValType) -> WaveError {
        let text = self.source.get(node.span()).unwrap_or("");
        WaveError(format!(
            "`{}` is not a valid {}",
            Line(text),
            self.types.display(ty)
        ))
    }

    fn no_text(&self, ty: ValType) -> WaveError {
        WaveError(format!(
            "{} can't be written as text",
            self.types.display(ty)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Field;

    fn types() -> (Types, Vec<(ValType, &'static str)>) {
        let mut types = Types::new();
        let mut define = |def| types.define(def).expect("it is a type");
        let label = |name: &str| Label::from(name);
        let bytes = define(TypeDef::List(ValType::U8));
        let pair = define(TypeDef::FixedList(ValType::S16, 2));
        let tuple = define(TypeDef::Tuple([ValType::Bool, ValType::String].into()));
        let flags = define(TypeDef::Flags([label("a"), label("b-c")].into()));
        let choice = define(TypeDef::Enum([label("none"), label("x")].into()));
        let some = define(TypeDef::Option(ValType::F64));
        let nested = define(TypeDef::Option(some));
        let result = define(TypeDef::Result {
            ok: Some(bytes),
            err: None,
        });
        let variant = define(TypeDef::Variant(
            [
                Case {
                    name: label("ok"),
                    ty: None,
                },
                Case {
                    name: label("n"),
                    ty: Some(nested),
                },
            ]
            .into(),
        ));
        let record = define(TypeDef::Record(
            [
                Field {
                    name: label("id"),
                    ty: ValType::U64,
                },
                Field {
                    name: label("tag"),
                    ty: some,
                },
            ]
            .into(),
        ));
        let map = define(TypeDef::Map(ValType::String, ValType::S8));
        let rows = vec![
            (ValType::U64, "18446744073709551615"),
            (ValType::S8, "-128"),
            (ValType::Char, r"'\''"),
            (ValType::String, "\"a\\n\\\"ß\""),
            (ValType::F32, "-inf"),
            (bytes, "[1, 2, 255]"),
            (pair, "[-1, 1]"),
            (tuple, "(true, \"x\")"),
            (flags, "{a, b-c}"),
            (flags, "{}"),
            (choice, "%none"),
            (nested, "some(none)"),
            (nested, "some(some(1.5))"),
            (result, "ok([])"),
            (result, "err"),
            (variant, "%ok"),
            (variant, "n(none)"),
            (record, "{id: 7, tag: none}"),
            (map, "{\"k\": -1, \"l\": 2}"),
        ];
        (types, rows)
    }

    #[test]
    fn what_is_printed_can_be_read() {
        let (types, rows) = types();
        for (ty, text) in rows {
            let value = parse(text, &types, ty).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn what_goes_without_saying_may_be_left_out() {
        let (types, rows) = types();
        let of = |text: &str| {
            rows.iter()
                .find(|row| row.1 == text)
                .expect("it is a row")
                .0
        };
        let read = |text, ty| parse(text, &types, ty).map(|value| value.to_string());
        let record = of("{id: 7, tag: none}");
        assert_eq!(
            read("{tag: 2, id: 1}", record).as_deref(),
            Ok("{id: 1, tag: some(2)}")
        );
        assert_eq!(read("{id: 1}", record).as_deref(), Ok("{id: 1, tag: none}"));
        assert_eq!(read("[1]", of("ok([])")).as_deref(), Ok("ok([1])"));
    }

    #[test]
    fn a_text_of_another_type_is_refused_with_the_part_that_is() {
        let (types, rows) = types();
        let of = |text: &str| {
            rows.iter()
                .find(|row| row.1 == text)
                .expect("it is a row")
                .0
        };
        let refused = |text, ty| parse(text, &types, ty).expect_err(text).to_string();
        for (ty, text, message) in [
            (ValType::U8, "256", "`256` is not a valid u8"),
            (ValType::U8, "-1", "`-1` is not a valid u8"),
            (of("[1, 2, 255]"), "[1, x]", "`x` is not a valid u8"),
            (of("[-1, 1]"), "[1]", "`[1]` is not a valid list<s16, 2>"),
            (
                of("{a, b-c}"),
                "{a, d}",
                "`{a, d}` is not a valid flags { a, b-c }",
            ),
            (of("%none"), "y", "`y` is not a valid enum { none, x }"),
            (
                of("some(none)"),
                "1.5",
                "`1.5` is not a valid option<option<f64>>",
            ),
            (
                of("{id: 7, tag: none}"),
                "{tag: 1}",
                "the field \"id\" is missing",
            ),
            (
                ValType::Own(crate::types::ResourceId(0)),
                "1",
                "own<resource 0> can't be written as text",
            ),
        ] {
            assert_eq!(refused(text, ty), message);
        }
        assert!(refused("{id: 1, x: 2}", of("{id: 7, tag: none}")).contains("has no field \"x\""));
        for text in ["", "[", "1 2", "\u{1b}", &"[".repeat(100_000)] {
            parse(text, &types, ValType::U8).expect_err(text);
        }
    }

    #[test]
    fn a_call_has_a_name_and_the_arguments_that_its_function_takes() {
        let (mut types, _) = types();
        let some = types
            .define(TypeDef::Option(ValType::U8))
            .expect("it is a type");
        let param = |name: &str, ty| crate::types::Param {
            name: name.into(),
            ty,
        };
        let params = [param("text", ValType::String), param("n", some)];
        let ty = types
            .define_func(params.into(), None, false)
            .expect("it is a type");
        let args = |text| {
            let call = Call::parse(text)?;
            let args = call.args(&types, types.func(ty))?;
            Ok::<_, WaveError>((call.name(), Val::Tuple(args).to_string()))
        };
        let found = Ok(("f", r#"("x(", some(1))"#.to_owned()));
        assert_eq!(args(r#"f("x(", 1)"#), found);
        let found = Ok(("a:b/c@1.0.0#f", r#"("", none)"#.to_owned()));
        assert_eq!(args(r#" a:b/c@1.0.0#f ("")"#), found);
        let refused = |text| args(text).expect_err(text).to_string();
        let counts =
            "the function takes 2 arguments, 0 given; they are (text: string, n: option<u8>)";
        assert_eq!(refused("f"), counts);
        assert_eq!(refused("f()"), counts);
        assert!(refused("f(\"\", 1, 2)").contains("3 given"));
        assert_eq!(
            refused("f(1)"),
            "argument \"text\": `1` is not a valid string"
        );
        for text in ["f(", "f(\"\"", "f(\"\") x", "f())"] {
            refused(text);
        }
    }
}
