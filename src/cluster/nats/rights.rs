//! Who may do what on a server: the subjects of each role, of which a server's configuration is made.

use super::beats::ASK;
use super::layout::{CONSUMER, Layout, Stream};

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever begins runs and looks at them.
    Admin,
    /// What trains children.
    Worker,
    /// What draws architectures and learns.
    Replica,
    /// What keeps the parameters.
    Applier,
}

/// Subjects by which a role's requests and answers go, `*` and `>` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Those that it may publish to.
    pub publish: Vec<String>,
    /// Those that it may subscribe to.
    pub subscribe: Vec<String>,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Admin, Role::Worker, Role::Replica, Role::Applier];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Worker => "worker",
            Role::Replica => "replica",
            Role::Applier => "applier",
        }
    }

    /// What the subjects begin with at which it gets its answers: its own, for no other role to listen.
    pub fn inbox(self) -> &'static str {
        match self {
            Role::Admin => "_INBOX",
            Role::Worker => "_INBOX_w",
            Role::Replica => "_INBOX_r",
            Role::Applier => "_INBOX_a",
        }
    }

    /// Subjects of a run whose messages may mean news to it.
    pub fn hints(self) -> &'static [&'static str] {
        match self {
            Role::Admin => &[],
            Role::Worker => &["fact.end", "cell.control"],
            Role::Replica => &["fact.child.*", "cell.shard.*", "cell.control"],
            Role::Applier => &["grad.>", "cell.control"],
        }
    }

    /// What it needs for a run, and no more; nothing where it may do all.
    pub fn rights(self, layout: &Layout) -> Option<Rights> {
        let own = |what: &str| layout.subject(what);
        let name = |stream| layout.stream(stream);
        let read =
            |stream, what: &str| format!("$JS.API.DIRECT.GET.{}.{}", name(stream), own(what));
        let publish = match self {
            Role::Admin => return None,
            Role::Worker => {
                let (jobs, bucket) = (name(Stream::Job), layout.bucket());
                vec![
                    own("fact.device"),
                    own("fact.child.*"),
                    own("cell.try.*"),
                    own("cell.ckpt.*"),
                    own("hb.*"),
                    read(Stream::Fact, "fact.>"),
                    read(Stream::Cell, "cell.control"),
                    read(Stream::Cell, "cell.try.*"),
                    read(Stream::Cell, "cell.ckpt.*"),
                    format!("$JS.API.CONSUMER.MSG.NEXT.{jobs}.{CONSUMER}"),
                    format!("$JS.ACK.{jobs}.{CONSUMER}.>"),
                    // As later servers name it.
                    format!("$JS.ACK.*.*.{jobs}.{CONSUMER}.>"),
                    format!("$O.{bucket}.C.*"),
                    format!("$O.{bucket}.M.*"),
                    format!("$JS.API.DIRECT.GET.OBJ_{bucket}"),
                    format!("$JS.API.DIRECT.GET.OBJ_{bucket}.$O.{bucket}.M.*"),
                ]
            }
            Role::Replica => vec![
                own("fact.round.*"),
                own("cell.replica.*"),
                own("grad.*.*"),
                own("job.*"),
                read(Stream::Fact, "fact.>"),
                read(Stream::Cell, "cell.shard.*"),
                read(Stream::Cell, "cell.replica.*"),
                read(Stream::Cell, "cell.control"),
            ],
            Role::Applier => vec![
                own("fact.end"),
                own("cell.shard.*"),
                read(Stream::Fact, "fact.>"),
                read(Stream::Cell, "cell.shard.*"),
                read(Stream::Cell, "cell.control"),
                format!("$JS.API.DIRECT.GET.{}", name(Stream::Gradient)),
                format!("$JS.API.STREAM.PURGE.{}", name(Stream::Gradient)),
            ],
        };
        let hints = self.hints().iter().map(|hint| own(hint));
        let inbox = format!("{}.>", self.inbox());
        let asked = (self == Role::Worker).then(|| own(ASK));
        Some(Rights {
            publish,
            subscribe: [inbox].into_iter().chain(hints).chain(asked).collect(),
        })
    }
}
