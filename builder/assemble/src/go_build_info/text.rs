//! The text form of build information: a line a fact, fields between tabs.
//!
//! Source: Go's `runtime/debug`, `ParseBuildInfo`.

use super::{BuildInfo, BuildInfoError, Dependency, Module};

/// Reads everything but the toolchain's version, which stands elsewhere.
pub(super) fn parse(text: &str) -> Result<BuildInfo, BuildInfoError> {
    let mut info = BuildInfo::default();
    let mut last = Last::None;
    for line in text.lines() {
        let malformed = |expected: &str| BuildInfoError::Malformed {
            what: format!("line `{}`; expected {expected}", line.escape_debug()),
        };
        let Some((kind, rest)) = line.split_once('\t') else { continue };
        match kind {
            "path" => rest.clone_into(&mut info.package),
            "mod" => {
                info.main = Some(module(rest).ok_or_else(|| malformed("a module"))?);
                last = Last::Main;
            }
            "dep" => {
                let module = module(rest).ok_or_else(|| malformed("a module"))?;
                info.dependencies.push(Dependency { module, replaced_by: None });
                last = Last::Dependency;
            }
            "=>" => {
                let replacement = module(rest).ok_or_else(|| malformed("a module"))?;
                match (last, info.dependencies.last_mut()) {
                    (Last::Dependency, Some(dependency)) => {
                        dependency.replaced_by = Some(replacement);
                    }
                    (Last::Main, _) => info.main = Some(replacement),
                    _ => return Err(malformed("a module before its replacement")),
                }
                last = Last::None;
            }
            "build" => {
                let setting = setting(rest).ok_or_else(|| malformed("`key=value`"))?;
                info.settings.push(setting);
            }
            // Newer versions of Go may add lines.
            _ => {}
        }
    }
    Ok(info)
}

/// What a replacement would belong to.
#[derive(Clone, Copy)]
enum Last {
    None,
    Main,
    Dependency,
}

/// Reads path, version and sum; the sum may be missing or empty.
fn module(text: &str) -> Option<Module> {
    let mut fields = text.split('\t');
    let path = fields.next().filter(|path| !path.is_empty())?.to_owned();
    let version = fields.next().unwrap_or_default().to_owned();
    let sum = fields.next().filter(|sum| !sum.is_empty()).map(str::to_owned);
    fields.next().is_none().then_some(Module { path, version, sum })
}

/// Reads `key=value`, each quoted as a Go string where it has to be.
fn setting(text: &str) -> Option<(String, String)> {
    let (key, value) = if text.starts_with('"') {
        let (key, rest) = unquote(text)?;
        (key, rest.strip_prefix('=')?)
    } else {
        let (key, value) = text.split_once('=')?;
        (key.to_owned(), value)
    };
    let value = if value.starts_with('"') {
        let (value, rest) = unquote(value)?;
        rest.is_empty().then_some(value)?
    } else {
        value.to_owned()
    };
    (!key.is_empty()).then_some((key, value))
}

/// Reads a Go string in double quotes; returns what follows it too.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let mut chars = rest.chars();
        match chars.next()? {
            '"' => return Some((String::from_utf8(bytes).ok()?, chars.as_str())),
            '\\' => rest = escape(chars.as_str(), &mut bytes)?,
            other => {
                bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                rest = chars.as_str();
            }
        }
    }
}

/// Reads what follows a backslash.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = text.chars();
    let digits = match chars.next()? {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        letter => {
            bytes.push(match letter {
                'a' => 7,
                'b' => 8,
                'f' => 12,
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                'v' => 11,
                '\\' | '"' => u8::try_from(letter).ok()?,
                _ => return None,
            });
            return Some(chars.as_str());
        }
    };
    let (number, rest) = chars.as_str().split_at_checked(digits)?;
    if !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(number, 16).ok()?;
    if digits == 2 {
        bytes.push(u8::try_from(number).ok()?);
    } else {
        let char = char::from_u32(number)?;
        bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_modules_replacements_and_settings() {
        let text = "path\texample.org/a/cmd\nmod\texample.org/a\t(devel)\t\ndep\texample.org/b\tv1.0.0\th1:abc=\ndep\texample.org/c\tv0.0.0\n=>\t./c\t(devel)\t\nbuild\t-ldflags=\"-s \\\"-w\\\"\"\nbuild\tGOOS=linux\nnew\tline\n";
        let info = parse(text).unwrap();
        assert_eq!(info.package, "example.org/a/cmd");
        assert_eq!(info.main.as_ref().unwrap().version, "(devel)");
        let [b, c] = info.dependencies.as_slice() else { panic!("{info:?}") };
        assert_eq!(b.linked().sum.as_deref(), Some("h1:abc="));
        assert_eq!(b.folder(""), None);
        assert_eq!(c.linked().path, "./c");
        assert_eq!(c.folder("server").unwrap(), "server/c");
        assert_eq!(info.setting("-ldflags"), Some("-s \"-w\""));
        assert_eq!(info.setting("GOOS"), Some("linux"));
    }

    #[test]
    fn a_replacement_may_lead_to_a_folder_beside_the_main_module() {
        let of = |path: &str| Dependency {
            replaced_by: Some(Module { path: path.to_owned(), ..Module::default() }),
            ..Dependency::default()
        };
        assert_eq!(of("../api").folder("server").unwrap(), "api");
        assert_eq!(of("../../api").folder("server").unwrap(), "../api");
        assert_eq!(of("./").folder("").unwrap(), "");
    }

    #[test]
    fn refuses_lines_that_lack_what_they_announce() {
        for text in ["dep\t\n", "mod\ta\tb\tc\td\n", "=>\ta\tv1\n", "build\tx\n", "build\t\"x=1\n"]
        {
            assert!(parse(text).is_err(), "accepted {text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "((path|mod|dep|=>|build)\t[ -~\t\\\\\"=]{0,30}\n){0,8}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_quoted_text_comes_back(text in any::<String>()) {
            let escaped: Vec<_> = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
            let quoted = format!("\"{}\"rest", escaped.concat());
            prop_assert_eq!(unquote(&quoted), Some((text, "rest")));
        }
    }
}
