//! What a read told us. A missing read is not an absent object: only a live GET that answers `NotFound` makes one `Absent`.

/// The result of looking at one thing in the cluster (`design.md`, "What is known").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Known<T> {
    /// It is there, and this is what it says.
    Present(T),
    /// A live GET answered `NotFound`.
    Absent,
    /// Any passing error, or a cache that has not been filled yet. Nothing is created, deleted or scaled on it.
    #[default]
    Unknown,
    /// The API server refused the read or the write: verb and resource, for the person who can grant it.
    Forbidden {
        /// For example `get`.
        verb: String,
        /// For example `httproutes.gateway.networking.k8s.io`.
        resource: String,
    },
    /// The API server does not serve the kind at all.
    NoKind {
        /// For example `HTTPProxy.projectcontour.io/v1`.
        kind: String,
    },
}

impl<T> Known<T> {
    /// The value, when it is known to be there.
    pub const fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            _ => None,
        }
    }

    /// The same knowledge, borrowed.
    pub fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Present(value) => Known::Present(value),
            Self::Absent => Known::Absent,
            Self::Unknown => Known::Unknown,
            Self::Forbidden { verb, resource } => Known::Forbidden {
                verb: verb.clone(),
                resource: resource.clone(),
            },
            Self::NoKind { kind } => Known::NoKind { kind: kind.clone() },
        }
    }

    /// Whether a live GET said that it is not there.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether it may be there and could not be read.
    pub const fn is_unread(&self) -> bool {
        matches!(self, Self::Unknown | Self::Forbidden { .. })
    }

    /// Whether the value is there and fulfils the condition.
    pub fn is_present_and(&self, condition: impl FnOnce(&T) -> bool) -> bool {
        self.present().is_some_and(condition)
    }

    /// The same knowledge about a part of the value.
    pub fn map<U>(self, part: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Present(value) => Known::Present(part(value)),
            Self::Absent => Known::Absent,
            Self::Unknown => Known::Unknown,
            Self::Forbidden { verb, resource } => Known::Forbidden { verb, resource },
            Self::NoKind { kind } => Known::NoKind { kind },
        }
    }
}
