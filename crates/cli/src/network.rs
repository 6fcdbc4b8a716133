//! What of the network a component is granted, in our words and in wasmtime's.
//!
//! Invariant: a word of wasmtime's grants no more here than it does there; one that would is refused.

use clap::Args;
use tiered_wasi::{Peers, WasiCtxBuilder};

use crate::args::text;

/// The options about the network.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NetworkArgs {
    /// Let a component connect and send to HOST:PORT: an address, a network (10.0.0.0/8), a name or `*`; a port, a range
    /// or `*`
    #[arg(long, value_name = "HOST:PORT", value_parser = text(parse_peers))]
    allow_connect: Vec<Peers>,
    /// Let a component listen and receive on ADDR:PORT, written alike
    #[arg(long, value_name = "ADDR:PORT", value_parser = text(parse_peers))]
    allow_listen: Vec<Peers>,
    /// Let a component look up the addresses of a name, of all below it (`*.example.com`), or of all names (`*`)
    #[arg(long, value_name = "NAME", value_parser = text(as_given))]
    allow_resolve: Vec<String>,
    /// Grant by wasmtime's words: `inherit-network` the whole network, `allow-ip-name-lookup` all names, `http` requests to
    /// all servers; `tcp`, `udp` and `p3` as without them
    #[arg(short = 'S', value_name = "WORD[=y|n]", value_delimiter = ',', value_parser = text(parse_word))]
    words: Vec<Word>,
}

/// One of wasmtime's words that says yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    InheritNetwork,
    AllowIpNameLookup,
    /// Requests by HTTP to everywhere.
    Http,
    /// It changes nothing: what it says is so without it.
    Default,
}

/// What the process must be able to do for what is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Sockets,
    /// Sockets, and looking up names.
    Lookups,
}

impl NetworkArgs {
    /// What the process must be able to do for that.
    pub(crate) fn kept(&self) -> Kept {
        let is_given = |wanted| self.words.contains(&wanted);
        let sockets = !(self.allow_connect.is_empty() && self.allow_listen.is_empty());
        // A name that may be connected to is looked up first.
        let names = self.allow_connect.iter().any(Peers::is_name);
        let lookups = is_given(Word::AllowIpNameLookup) || is_given(Word::Http);
        if names || lookups || !self.allow_resolve.is_empty() {
            Kept::Lookups
        } else if sockets || is_given(Word::InheritNetwork) {
            Kept::Sockets
        } else {
            Kept::Nothing
        }
    }

    /// Grants it all.
    pub(crate) fn grant(&self, mut builder: WasiCtxBuilder) -> WasiCtxBuilder {
        for peers in &self.allow_connect {
            builder = builder.allow_connect(peers.clone());
        }
        for addresses in &self.allow_listen {
            builder = builder.allow_listen(addresses.clone());
        }
        for name in &self.allow_resolve {
            builder = builder.allow_resolve(name);
        }
        for word in &self.words {
            builder = match word {
                Word::InheritNetwork => builder
                    .allow_connect(Peers::any())
                    .allow_listen(Peers::any()),
                Word::AllowIpNameLookup => builder.allow_resolve("*"),
                #[cfg(feature = "http")]
                Word::Http => builder.allow_http(),
                #[cfg(not(feature = "http"))]
                Word::Http => builder,
                Word::Default => builder,
            };
        }
        builder
    }
}

fn parse_peers(text: &str) -> Result<Peers, String> {
    text.parse()
        .map_err(|err: tiered_wasi::PeersError| err.to_string())
}

fn as_given(text: &str) -> Result<String, String> {
    Ok(text.into())
}

fn parse_word(text: &str) -> Result<Word, String> {
    let (word, value) = text.split_once('=').unwrap_or((text, "y"));
    let yes = match value {
        "y" | "yes" | "true" => true,
        "n" | "no" | "false" => false,
        _ => return Err("expected y or n behind `=`".into()),
    };
    match (word, yes) {
        ("inherit-network", true) => Ok(Word::InheritNetwork),
        ("allow-ip-name-lookup", true) => Ok(Word::AllowIpNameLookup),
        ("http", true) if cfg!(feature = "http") => Ok(Word::Http),
        ("http", false) => Ok(Word::Default),
        ("tcp" | "udp" | "cli" | "preview2" | "p3", true) => Ok(Word::Default),
        ("inherit-network" | "allow-ip-name-lookup", false) => Ok(Word::Default),
        ("tcp" | "udp", false) => Err(format!(
            "without a grant there is no {word} already; name what is allowed by --allow-connect and --allow-listen"
        )),
        ("p3", false) => Err(
            "WASI 0.3 is there for every component, and grants nothing that 0.2 does not".into(),
        ),
        _ => Err("expected inherit-network, allow-ip-name-lookup, http, tcp, udp or p3".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_keeps_what_the_grants_need() {
        let none = NetworkArgs::default();
        assert_eq!(none.kept(), Kept::Nothing);
        let connect = |peers: &str| NetworkArgs {
            allow_connect: vec![peers.parse().expect("it names peers")],
            ..NetworkArgs::default()
        };
        assert_eq!(connect("127.0.0.1:80").kept(), Kept::Sockets);
        assert_eq!(connect("example.com:80").kept(), Kept::Lookups);
        let words = |words: &[Word]| NetworkArgs {
            words: words.to_vec(),
            ..NetworkArgs::default()
        };
        assert_eq!(words(&[Word::Default]).kept(), Kept::Nothing);
        assert_eq!(words(&[Word::InheritNetwork]).kept(), Kept::Sockets);
        assert_eq!(
            words(&[Word::InheritNetwork, Word::AllowIpNameLookup]).kept(),
            Kept::Lookups
        );
        assert_eq!(words(&[Word::Http]).kept(), Kept::Lookups);
    }

    #[test]
    fn words_of_wasmtime_grant_no_more_than_there() {
        assert_eq!(parse_word("inherit-network"), Ok(Word::InheritNetwork));
        assert_eq!(parse_word("inherit-network=y"), Ok(Word::InheritNetwork));
        assert_eq!(parse_word("inherit-network=n"), Ok(Word::Default));
        assert_eq!(
            parse_word("allow-ip-name-lookup=true"),
            Ok(Word::AllowIpNameLookup)
        );
        assert_eq!(parse_word("tcp"), Ok(Word::Default));
        assert_eq!(parse_word("http=n"), Ok(Word::Default));
        assert_eq!(parse_word("p3"), Ok(Word::Default));
        assert_eq!(parse_word("p3=y"), Ok(Word::Default));
        for word in [
            "tcp=n",
            "p3=n",
            "udp=no",
            "inherit-env",
            "",
            "=y",
            "inherit-network=x",
        ] {
            parse_word(word).expect_err(word);
        }
    }
}
