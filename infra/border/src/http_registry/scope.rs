//! What a request needs to be allowed to do, in the words of token servers.
//!
//! Source: distribution, "Token Scope Documentation".

/// What a request does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    repository: String,
    pushes: bool,
    from: Option<String>,
}

impl Scope {
    /// Reads a repository.
    pub(super) fn pull(repository: &str) -> Self {
        Self { repository: repository.to_owned(), pushes: false, from: None }
    }

    /// Writes to a repository.
    pub(super) fn push(repository: &str) -> Self {
        Self { pushes: true, ..Self::pull(repository) }
    }

    /// Writes to a repository and reads another.
    pub(super) fn mount(repository: &str, from: &str) -> Self {
        Self { from: Some(from.to_owned()), ..Self::push(repository) }
    }

    /// Returns another one that allows more than this.
    pub(super) fn wider(&self) -> Option<Self> {
        (!self.pushes).then(|| Self::push(&self.repository))
    }

    /// Lists what to ask a token server for.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        let actions = if self.pushes { "pull,push" } else { "pull" };
        let own = format!("repository:{}:{actions}", self.repository);
        let other = self.from.as_ref().map(|from| format!("repository:{from}:pull"));
        [own].into_iter().chain(other)
    }
}

/// Writes the fields of a form or query.
///
/// Source: URL Standard, "application/x-www-form-urlencoded serializing", with `%20` for a space.
pub(super) fn encode(fields: &[(&str, String)]) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{}", kdistro_formats::digest::hex(&[byte]).to_uppercase())
        }
    };
    let write = |(name, value): &(&str, String)| {
        format!("{name}={}", value.bytes().map(escape).collect::<String>())
    };
    fields.iter().map(write).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_token_servers_read_them() {
        let texts = |scope: Scope| scope.texts().collect::<Vec<_>>();
        assert_eq!(texts(Scope::pull("a/b")), ["repository:a/b:pull"]);
        assert_eq!(texts(Scope::push("a")), ["repository:a:pull,push"]);
        let mount = ["repository:a:pull,push", "repository:b:pull"];
        assert_eq!(texts(Scope::mount("a", "b")), mount);
        assert_eq!(Scope::pull("a").wider(), Some(Scope::push("a")));
        assert_eq!(Scope::push("a").wider(), None);
        let fields =
            [("scope", "repository:a:pull,push".to_owned()), ("x", "a&b= \u{e9}".to_owned())];
        assert_eq!(encode(&fields), "scope=repository%3Aa%3Apull%2Cpush&x=a%26b%3D%20%C3%A9");
    }
}
