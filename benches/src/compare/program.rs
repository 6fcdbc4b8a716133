//! Programs: the committed ones or those named on the command line, and the choice among them.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A program and its arguments.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
}

impl Program {
    /// The file's name without its end: what tables call it.
    pub(crate) fn name(&self) -> String {
        self.path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// The programs named, or else those of `folder` in the order of their names, as far as `only` matches their name.
pub(crate) fn select(
    named: &[String],
    folder: &Path,
    only: Option<&str>,
    args: Option<&str>,
) -> Result<Vec<Program>> {
    let mut programs = if named.is_empty() {
        in_folder(folder).with_context(|| format!("--programs-dir {}", folder.display()))?
    } else {
        named
            .iter()
            .map(|words| parse(words))
            .collect::<Result<_>>()?
    };
    if let Some(pattern) = only {
        programs.retain(|program| matches(pattern, &program.name()));
    }
    if let Some(args) = args {
        for program in programs
            .iter_mut()
            .filter(|program| program.args.is_empty())
        {
            program.args = args.split_whitespace().map(str::to_owned).collect();
        }
    }
    if programs.is_empty() {
        bail!("no program to run");
    }
    Ok(programs)
}

fn in_folder(folder: &Path) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            programs.push(Program {
                path,
                args: Vec::new(),
            });
        }
    }
    programs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(programs)
}

fn parse(words: &str) -> Result<Program> {
    let mut words = words.split_whitespace();
    let path = PathBuf::from(words.next().context("a program's name is empty")?);
    if !path.is_file() {
        bail!("{}: no such file", path.display());
    }
    Ok(Program {
        path,
        args: words.map(str::to_owned).collect(),
    })
}

/// Whether `name` is of the form of `pattern`, where `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            let mut starts = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
            starts.any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(matches("fib", "fib"));
        assert!(!matches("fib", "fibs"));
        assert!(matches("mat*", "matmul"));
        assert!(matches("*mul", "matmul"));
        assert!(matches("m*t*l", "matmul"));
        assert!(matches("*", ""));
        assert!(!matches("*x*", "matmul"));
    }

    #[test]
    fn the_committed_programs_are_found() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
        let programs = select(&[], &folder, None, None).unwrap();
        assert!(programs.len() >= 12);
        let some = select(&[], &folder, Some("m*"), Some("1 2")).unwrap();
        assert!(some.len() < programs.len());
        assert!(some.iter().all(|program| program.args == ["1", "2"]));
    }
}
