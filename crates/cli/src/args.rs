//! The command line: every flag once, with its help, its syntax and the value it becomes.
//!
//! Invariant: options end at the module; every word after it belongs to the program, even one that starts with `-`.
//!
//! Invariant: the first word that is not an option is the subcommand if it names one (`tiered run run` runs the
//! file `run`).
//!
//! # Why
//! A run without options needs no parser, and one with options only that of `run`: start-up takes fractions of a
//! millisecond, and building the whole parser takes as long as decoding a small program.

mod cache;
#[cfg(feature = "http")]
mod serve;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{
    Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use tiered::{NoTierMode, TierMode};

pub(crate) use cache::{CacheAction, CacheArgs, CacheOptions};
#[cfg(feature = "http")]
pub(crate) use serve::ServeArgs;

const ABOUT: &str = "Run WebAssembly programs in a sandbox";

const EXIT_CODES: &str = "\
Exit codes:
  the program's own (its low 8 bits); 134 if it traps, runs out of time or
  uses up its fuel; 1 if it cannot be run; 2 if the command line is wrong";

/// What the command line asks for.
#[derive(Debug, Subcommand)]
#[cfg_attr(
    not(feature = "http"),
    expect(clippy::large_enum_variant, reason = "there is one, made once")
)]
pub(crate) enum Command {
    /// Run a program (the default)
    Run(RunArgs),
    /// Answer HTTP requests with a component
    #[cfg(feature = "http")]
    Serve(ServeArgs),
    /// Decode and validate modules and components; print nothing if they are valid
    Validate(ValidateArgs),
    /// Run spec scripts and count the directives that pass
    Wast(WastArgs),
    /// Show what a module or component imports, exports and defines, and which capabilities it needs
    Inspect(InspectArgs),
    /// Show or empty the cache of what is known of large programs
    Cache(CacheArgs),
}

/// The whole command line, as `tiered --help` shows it.
#[derive(Debug, Parser)]
#[command(name = "tiered", version, about = ABOUT, after_help = EXIT_CODES)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
#[command(override_usage = "tiered [run] [OPTIONS] MODULE [ARGS]...\n       tiered <COMMAND>")]
struct Tiered {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<RunArgs>,
}

/// A command line with the word `run` left out.
#[derive(Debug, Parser)]
#[command(name = "tiered", version, about = ABOUT, after_help = EXIT_CODES)]
#[command(override_usage = "tiered [run] [OPTIONS] MODULE [ARGS]...")]
struct PlainRun {
    #[command(flatten)]
    run: RunArgs,
}

/// What both `run` and `serve` take: what the program is granted, how it is run, and what it may use.
#[derive(Debug, Default, Args)]
pub(crate) struct ProgramArgs {
    #[command(flatten)]
    pub(crate) grants: Grants,
    /// Set an environment variable; without a value, pass on the one of this process
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = text(EnvVar::parse))]
    pub(crate) env: Vec<EnvVar>,
    /// Set argument 0, the program's name [default: the module's file name]
    #[arg(long, value_name = "NAME")]
    pub(crate) argv0: Option<OsString>,
    #[cfg(feature = "component")]
    #[command(flatten)]
    pub(crate) network: crate::network::NetworkArgs,
    /// Have the kernel hold the whole process to what is granted, as a second wall: `auto` as far as it can; `require`
    /// wholly, or do not run; `off` not at all. Without a value, `require`
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "require", default_value = "auto")]
    pub(crate) sandbox: SandboxMode,
    /// Choose what is compiled: `auto` hot code; `interp` nothing; `jit` each function at its first call; for tests,
    /// `osr` each loop at its first back edge, and `random:SEED` code at random places
    #[arg(long, value_name = "TIER", default_value = "auto", value_parser = text(parse_tier))]
    pub(crate) tier: TierMode,
    /// Compile on this many threads; with 0 the program waits for each compile [default: by the number of cores]
    #[arg(long, value_name = "N", value_parser = text(parse_threads))]
    pub(crate) compile_threads: Option<usize>,
    #[command(flatten)]
    pub(crate) cache: CacheOptions,
    /// Log to standard error what is compiled and why
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) trace: Vec<Trace>,
    /// Give `perf` the names of functions, in a map or with their code in a dump
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) profile: Option<Profile>,
    /// Limit the program's memories together to this many bytes; k, m and g mean KiB, MiB and GiB
    #[arg(long, value_name = "SIZE", value_parser = text(parse_size))]
    pub(crate) max_memory: Option<u64>,
    /// Limit the memory that compiling may take; k, m and g as above [default: 512m]
    #[arg(long, value_name = "SIZE", value_parser = text(parse_size))]
    pub(crate) max_compile_memory: Option<u64>,
    /// Stop the program after this many calls and loop iterations; what WASI calls move and look up counts, too
    #[arg(long, value_name = "N", value_parser = text(parse_count))]
    pub(crate) fuel: Option<u64>,
    /// Guard compiled code against Spectre: let no access leave its memory or table, not even in advance
    #[arg(long, value_enum, value_name = "YES|NO", default_value = "yes")]
    pub(crate) spectre_guards: YesNo,
    /// Give relaxed vector instructions the results that they have on every machine, not those that this one computes fastest
    #[arg(long)]
    pub(crate) deterministic_relaxed: bool,
}

/// `tiered run`.
#[derive(Debug, Default, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) program: ProgramArgs,
    /// Call an exported function with ARGS and print its results, one per line; of a component, 'NAME(ARGUMENTS)' with values
    /// as WAVE writes them
    #[arg(long, value_name = "NAME", value_parser = text(as_given))]
    pub(crate) invoke: Option<String>,
    /// Instantiate a module in front of the program, which can import its exports from NAME; of several, each from those
    /// before it
    #[arg(long, value_name = "NAME=FILE", value_parser = word(Preload::parse))]
    pub(crate) preload: Vec<Preload>,
    /// Grant a socket that listens on this address; sockets follow the directories, which start at descriptor 3
    #[arg(long, value_name = "ADDR", value_parser = text(as_given))]
    pub(crate) tcplisten: Vec<String>,
    /// Print a summary of what the tiers did to standard error at exit, as text or JSON
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub(crate) stats: Option<StatsFormat>,
    /// Print the code of a function instead of running the program
    #[arg(long, value_enum, value_name = "WHAT", requires = "func")]
    pub(crate) dump: Option<Dump>,
    /// Choose the function for `--dump`; `@OFFSET` selects its loop at this byte of the module; in a component, `N:` in
    /// front is core module N
    #[arg(long, value_name = "NAME|INDEX", requires = "dump", value_parser = text(as_given))]
    pub(crate) func: Option<String>,
    /// Limit how many descriptors the program may have open, its streams and directories included [default: 65536; never
    /// more than three quarters of `ulimit -n`]
    #[arg(long, value_name = "N", value_parser = text(parse_number))]
    pub(crate) max_open_fds: Option<usize>,
    /// Limit how many threads the program may start; more can start when some have ended [default: 128]
    #[arg(long, value_name = "N", value_parser = text(parse_number))]
    pub(crate) max_threads: Option<usize>,
    /// Stop the program after this time, loading included: 500ms, 2s, 1.5, 10m
    #[arg(long, value_name = "DURATION", value_parser = text(parse_duration))]
    pub(crate) timeout: Option<Duration>,
    /// The module or component, binary or text; `-` reads it from standard input. The words after it go to the program
    #[arg(required = true, trailing_var_arg = true, value_names = ["MODULE", "ARGS"])]
    module_and_args: Vec<OsString>,
}

impl RunArgs {
    /// The module as written.
    pub(crate) fn module(&self) -> &OsStr {
        // Required above, so there is one.
        self.module_and_args
            .first()
            .map_or(OsStr::new(""), OsString::as_os_str)
    }

    /// The program's arguments.
    pub(crate) fn args(&self) -> &[OsString] {
        self.module_and_args.get(1..).unwrap_or_default()
    }
}

/// `tiered validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Modules or components, binary or text; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `tiered wast`.
#[derive(Debug, Args)]
pub(crate) struct WastArgs {
    /// Choose what is compiled: auto, interp, jit, osr or random:SEED
    #[arg(long, value_name = "TIER", default_value = "auto", value_parser = text(parse_tier))]
    pub(crate) tier: TierMode,
    /// Scripts to run
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `tiered inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The module or component, binary or text; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What is asked of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SandboxMode {
    #[default]
    Auto,
    Require,
    Off,
}

/// Whether something is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    #[default]
    Yes,
    No,
}

/// What is logged while a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trace {
    /// Log compiles and switches between tiers
    Tier,
}

/// How the summary is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsFormat {
    Text,
    Json,
}

/// What is shown of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dump {
    /// The interpreter's bytecode
    Ir,
    /// Cranelift's intermediate representation
    Clif,
    /// Machine code
    Asm,
}

/// How `perf` gets the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Write names to /tmp/perf-PID.map
    Perfmap,
    /// Write names and code to jit-PID.dump
    Jitdump,
}

/// A directory the program may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The option as written, for messages about it.
    pub(crate) option: String,
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) read_only: bool,
}

impl Grant {
    /// `HOST[::GUEST][::ro]`; a single `::ro` is the mark.
    fn parse_dir(word: &OsStr) -> Result<Grant, String> {
        let mut parts = vec![];
        let mut rest = word;
        while let Some((part, after)) = split_once(rest, "::") {
            parts.push(part);
            rest = after;
        }
        parts.push(rest);
        let read_only = parts.len() > 1 && rest == "ro";
        if read_only {
            parts.pop();
        }
        let (host, guest) = match parts[..] {
            [host] => (host, host),
            [host, guest] => (host, guest),
            _ => return Err("expected HOST[::GUEST][::ro]".into()),
        };
        Grant::new(format!("--dir {}", word.display()), host, guest, read_only)
    }

    /// `GUEST::HOST`, or with a single colon.
    fn parse_mapdir(word: &OsStr) -> Result<Grant, String> {
        let (guest, host) = split_once(word, "::")
            .or_else(|| split_once(word, ":"))
            .ok_or("expected GUEST::HOST or GUEST:HOST")?;
        Grant::new(format!("--mapdir {}", word.display()), host, guest, false)
    }

    fn new(option: String, host: &OsStr, guest: &OsStr, read_only: bool) -> Result<Grant, String> {
        if host.is_empty() {
            return Err("the host directory is empty".into());
        }
        match guest.to_str() {
            Some("") => Err("the guest directory is empty".into()),
            Some(guest) => Ok(Grant {
                option,
                host: host.into(),
                guest: guest.into(),
                read_only,
            }),
            None => Err("the name for the guest is not valid UTF-8".into()),
        }
    }
}

/// The word before and after the first `separator`.
fn split_once<'a>(word: &'a OsStr, separator: &str) -> Option<(&'a OsStr, &'a OsStr)> {
    let (bytes, len) = (word.as_bytes(), separator.len());
    let at = bytes
        .windows(len)
        .position(|window| window == separator.as_bytes())?;
    let part = OsStr::from_bytes;
    Some((part(&bytes[..at]), part(&bytes[at + len..])))
}

/// All directories, in the order of the command line, whichever option names them: of two for the same guest directory
/// the C library takes the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants(pub(crate) Vec<Grant>);

impl Grants {
    fn read(matches: &ArgMatches) -> Grants {
        let mut grants = Vec::new();
        for id in ["dir", "mapdir"] {
            let indices = matches.indices_of(id).into_iter().flatten();
            grants
                .extend(indices.zip(matches.get_many::<Grant>(id).into_iter().flatten().cloned()));
        }
        grants.sort_by_key(|(index, _)| *index);
        Grants(grants.into_iter().map(|(_, grant)| grant).collect())
    }
}

impl FromArgMatches for Grants {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Grants, clap::Error> {
        Ok(Grants::read(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Grants::read(matches);
        Ok(())
    }
}

impl Args for Grants {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
            .arg(
                Arg::new("dir")
                    .long("dir")
                    .action(ArgAction::Append)
                    .value_name("HOST[::GUEST][::ro]")
                    .value_parser(word(Grant::parse_dir))
                    .help("Grant a directory, as GUEST if given; `::ro` makes it read-only"),
            )
            .arg(
                Arg::new("mapdir")
                    .long("mapdir")
                    .action(ArgAction::Append)
                    .value_name("GUEST::HOST")
                    .value_parser(word(Grant::parse_mapdir))
                    .help("Grant the directory HOST as GUEST; GUEST:HOST means the same"),
            )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Grants::augment_args(command)
    }
}

/// An environment variable for the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvVar {
    pub(crate) name: String,
    /// Without one, this process's own value is passed on.
    pub(crate) value: Option<String>,
}

impl EnvVar {
    fn parse(text: &str) -> Result<EnvVar, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (text, None),
        };
        match name {
            "" => Err("the name is empty".into()),
            _ => Ok(EnvVar {
                name: name.into(),
                value,
            }),
        }
    }
}

/// A module that the program imports from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preload {
    pub(crate) name: String,
    pub(crate) file: OsString,
}

impl Preload {
    fn parse(word: &OsStr) -> Result<Preload, String> {
        let (name, file) = split_once(word, "=").ok_or("expected NAME=FILE")?;
        let name = name.to_str().ok_or("the name is not valid UTF-8")?;
        match file.is_empty() {
            true => Err("the file's name is empty".into()),
            false => Ok(Preload {
                name: name.into(),
                file: file.into(),
            }),
        }
    }
}

/// A parser of a word that need not be text. With one, clap's message about a word names the option.
fn word<T: Clone + Send + Sync + 'static>(
    parse: impl Fn(&OsStr) -> Result<T, String> + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = T> {
    OsStringValueParser::new().try_map(move |word| parse(&word))
}

/// A parser of a word that must be text.
pub(crate) fn text<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> Result<T, String>,
) -> impl TypedValueParser<Value = T> {
    word(move |word| parse(word.to_str().ok_or("not valid UTF-8")?))
}

fn as_given(text: &str) -> Result<String, String> {
    Ok(text.into())
}

fn parse_tier(text: &str) -> Result<TierMode, String> {
    text.parse().map_err(|err: NoTierMode| err.to_string())
}

fn parse_threads(text: &str) -> Result<usize, String> {
    const MOST: usize = 256;
    let threads = text.parse().ok().filter(|&threads| threads <= MOST);
    threads.ok_or_else(|| format!("expected a number of threads, at most {MOST}"))
}

fn parse_number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a number".into())
}

fn parse_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a number".into())
}

/// Bytes, with an optional binary suffix.
fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, shift) = match number.char_indices().next_back() {
        Some((at, 'k')) => (&number[..at], 10),
        Some((at, 'm')) => (&number[..at], 20),
        Some((at, 'g')) => (&number[..at], 30),
        _ => (number, 0),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number of bytes, as in 65536, 64k, 512m, 2g")?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "the size does not fit into 64 bits".into())
}

/// Seconds, or a number with its unit.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!(
                "unknown unit of time `{unit}`: use us, ms, s, m or h"
            ));
        }
    };
    let number: f64 = number
        .trim_end()
        .parse()
        .map_err(|_| "expected a time, as in 500ms, 2s, 1.5, 10m")?;
    match Duration::try_from_secs_f64(number * seconds_per_unit) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a time above zero".into()),
    }
}

/// Parses the process's words, the first of which is its own name.
///
/// # Errors
/// The words make no command, or ask for help or the version: clap prints it and knows the exit code.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Command, clap::Error> {
    let Some(first) = words.get(1) else {
        return parse_command(&words);
    };
    match first.to_str() {
        Some("-h" | "--help" | "-V" | "--version") => parse_command(&words),
        Some(word) if is_command(word) => parse_command(&words),
        _ if first.as_bytes().starts_with(b"-") && first != "-" => parse_plain(words),
        _ => Ok(Command::Run(RunArgs {
            module_and_args: words[1..].to_vec(),
            ..RunArgs::default()
        })),
    }
}

fn parse_command(words: &[OsString]) -> Result<Command, clap::Error> {
    let parsed = Tiered::try_parse_from(words)?;
    match (parsed.command, parsed.run) {
        (Some(command), _) => Ok(command),
        (None, Some(run)) => Ok(Command::Run(run)),
        (None, None) => {
            Err(Tiered::command().error(ErrorKind::MissingRequiredArgument, "MODULE is missing"))
        }
    }
}

/// Parses a run without the word `run`; if options stand before the name of a subcommand, they are that one's.
fn parse_plain(mut words: Vec<OsString>) -> Result<Command, clap::Error> {
    let run = PlainRun::try_parse_from(&words)?.run;
    let at = words.len() - run.module_and_args.len();
    let escaped = words[at - 1] == "--";
    if escaped || !run.module().to_str().is_some_and(is_command) {
        return Ok(Command::Run(run));
    }
    words[1..=at].rotate_right(1);
    parse_command(&words)
}

/// Whether `word` names a subcommand.
fn is_command(word: &str) -> bool {
    let is_always = matches!(
        word,
        "run" | "validate" | "wast" | "inspect" | "cache" | "help"
    );
    is_always || cfg!(feature = "http") && word == "serve"
}
