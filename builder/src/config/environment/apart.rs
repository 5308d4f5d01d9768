//! What must not be shared: between environments, and between what is secret and what is published.

use super::{AnnouncementPlace, Environment, KeyPlace, RegistryPlace, StorePlace, folder::Folder};
use crate::config::Problem;

/// Something that belongs to one environment alone, however it is written.
#[derive(Debug, PartialEq, Eq)]
enum Owned {
    Folder(Folder),
    Bucket { endpoint: String, bucket: String, prefix: String },
    Registry { host: String, prefix: String },
    Ecr { place: [String; 4], prefix: String },
    Key { service: [String; 2], name: String },
}

/// Lists what several environments share, each behind the file of the later one.
pub(super) fn check(environments: &[(&String, Environment)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, (path, environment)) in environments.iter().enumerate() {
        let others = environments.iter().take(number);
        for (other_path, other) in others {
            for (field, what) in shared(environment, other) {
                let message = format!(
                    "`{field}` is also that of {other_path}; expected {what} that no other environment has"
                );
                problems.push(Problem::new(*path, message));
            }
            for (secret, folder) in published(environment, other) {
                let message = format!("`{secret}` lies in `{folder}` of {other_path}, {OPEN}");
                problems.push(Problem::new(*path, message));
            }
            for (secret, folder) in published(other, environment) {
                let message = format!("`{folder}` holds `{secret}` of {other_path}, {OPEN}");
                problems.push(Problem::new(*path, message));
            }
        }
    }
    problems
}

const OPEN: &str = "where it would be published";

/// Says which secret of an environment lies in a folder that it publishes.
pub(super) fn check_one(environment: &Environment) -> Result<(), String> {
    match published(environment, environment).first() {
        Some((secret, folder)) => Err(format!("`{secret}` lies in `{folder}`, {OPEN}")),
        None => Ok(()),
    }
}

fn shared(one: &Environment, other: &Environment) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if keys(one).iter().any(|key| keys(other).contains(key)) {
        found.push(("keys", "keys"));
    }
    if store(one) == store(other) {
        found.push(("store", "a bucket, prefix or folder"));
    }
    if registry(one) == registry(other) {
        found.push(("registry", "a registry, prefix or folder"));
    }
    found
}

/// Lists the secrets of one environment that lie in folders of the other that everybody may read.
fn published(one: &Environment, other: &Environment) -> Vec<(&'static str, &'static str)> {
    let keys = match &one.keys {
        KeyPlace::Directory(folder) => Some(("keys.directory", Folder::of(folder))),
        KeyPlace::Kms(_) => None,
    };
    let secret = match &one.announcements {
        AnnouncementPlace::Webhook(webhook) => {
            Some(("announcements.webhook.secret", Folder::of(&webhook.secret)))
        }
        AnnouncementPlace::Directory(_) | AnnouncementPlace::Sns(_) => None,
    };
    let mut open = Vec::new();
    if let StorePlace::Directory(folder) = &other.store {
        open.push(("store.directory", Folder::of(folder)));
    }
    if let RegistryPlace::Directory(folder) = &other.registry {
        open.push(("registry.directory", Folder::of(folder)));
    }
    if let AnnouncementPlace::Directory(folder) = &other.announcements {
        open.push(("announcements.directory", Folder::of(folder)));
    }
    let secrets = keys.into_iter().chain(secret);
    secrets
        .filter_map(|(field, secret)| {
            let found = open.iter().find(|(_, folder)| secret.is_in(folder));
            found.map(|(folder, _)| (field, *folder))
        })
        .collect()
}

fn keys(environment: &Environment) -> Vec<Owned> {
    match &environment.keys {
        KeyPlace::Directory(folder) => vec![Owned::Folder(Folder::of(folder))],
        KeyPlace::Kms(kms) => {
            let key = |name: &String| {
                // An ARN says its region itself.
                let region = kms.region.as_deref().filter(|_| !name.starts_with("arn:"));
                let service = [text(region), place(kms.endpoint.as_deref())];
                Owned::Key { service, name: name.clone() }
            };
            vec![key(&kms.release), key(&kms.log)]
        }
    }
}

fn store(environment: &Environment) -> Owned {
    match &environment.store {
        StorePlace::Directory(folder) => Owned::Folder(Folder::of(folder)),
        // The names of Amazon's buckets are the same in all regions.
        StorePlace::S3(it) => Owned::Bucket {
            endpoint: place(it.endpoint.as_deref()),
            bucket: it.bucket.clone(),
            prefix: it.prefix.clone(),
        },
    }
}

fn registry(environment: &Environment) -> Owned {
    match &environment.registry {
        RegistryPlace::Directory(folder) => Owned::Folder(Folder::of(folder)),
        RegistryPlace::Oci(it) => {
            Owned::Registry { host: place(Some(&it.address)), prefix: it.prefix.clone() }
        }
        RegistryPlace::Ecr(it) => Owned::Ecr {
            place: [
                text(it.region.as_deref()),
                text(it.account.as_deref()),
                place(it.endpoint.as_deref()),
                place(it.address.as_deref()),
            ],
            prefix: it.prefix.clone(),
        },
    }
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

/// An address in the one way to write it.
fn place(address: Option<&str>) -> String {
    let address = text(address).to_ascii_lowercase();
    let address = address.trim_end_matches('/');
    let usual = if address.starts_with("https:") { ":443" } else { ":80" };
    address.strip_suffix(usual).unwrap_or(address).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{check, file};
    use crate::config::Files;

    const ONE: &str = "name: one\nstore: {directory: one/store}\nregistry: {directory: one/registry}\nannouncements: {directory: one/announcements}\nkeys: {directory: one/keys}\nlogOrigin: log.one.example\n";

    fn problems(one: &str, two: &str) -> String {
        let two = two.replace("name: one", "name: two").replace("log.one", "log.two");
        let files = [("one", one), ("two", &two)].map(|(n, text)| (file(n), text.into()));
        check(&Files::from(files)).iter().map(|it| format!("{it}\n")).collect::<Vec<_>>().concat()
    }

    /// Two environments with nothing in common, but for this in the second.
    fn with(changes: &[(&str, &str)]) -> String {
        let apart = ONE.replace("one/", "two/");
        changes.iter().fold(apart, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        })
    }

    #[test]
    fn environments_share_neither_keys_nor_places() {
        assert_eq!(problems(ONE, &with(&[])), "");
        for (from, to, expected) in [
            (
                "two/keys",
                "./one//keys",
                "`keys` is also that of infra/environments/one.yaml; expected keys",
            ),
            ("two/store", "one/x/../store", "`store` is also that of"),
            ("two/registry", "one/registry/", "`registry` is also that of"),
        ] {
            let found = problems(ONE, &with(&[(from, to)]));
            assert!(found.starts_with("infra/environments/two.yaml: "), "{found}");
            assert!(found.contains(expected) && found.lines().count() == 1, "{found}");
        }
        let all = problems(ONE, ONE);
        assert_eq!(all.lines().count(), 3, "{all}");
        // A folder of announcements is only added to.
        assert_eq!(problems(ONE, &with(&[("two/announcements", "one/announcements")])), "");
    }

    #[test]
    fn places_of_a_cloud_are_compared_however_they_are_written() {
        let at = |store: &str, registry: &str, keys: &str| {
            format!(
                "name: one\nstore: {{s3: {{{store}}}}}\nregistry: {registry}\nannouncements: {{directory: a}}\nkeys: {{kms: {{{keys}}}}}\nlogOrigin: log.one.example\n"
            )
        };
        let (s3, oci, kms) = (
            "bucket: releases, prefix: p",
            "{oci: {address: 'https://registry.example', prefix: p}}",
            "region: eu-west-1, release: alias/r, log: alias/l",
        );
        let (s3_2, oci_2, kms_2) = (
            "bucket: releases, prefix: q",
            "{oci: {address: 'https://registry.example', prefix: q}}",
            "region: us-east-1, release: alias/r, log: alias/l",
        );
        let one = at(s3, oci, kms);
        assert_eq!(problems(&one, &at(s3_2, oci_2, kms_2)), "");
        for (two, field) in [
            (at("bucket: releases, prefix: p, region: us-east-1", oci_2, kms_2), "store"),
            (
                at(s3_2, "{oci: {address: 'HTTPS://Registry.Example:443/', prefix: p}}", kms_2),
                "registry",
            ),
            (at(s3_2, oci_2, "region: eu-west-1, release: alias/x, log: alias/r"), "keys"),
        ] {
            let found = problems(&one, &two);
            assert!(found.contains(&format!("`{field}` is also that of")), "{found}");
            assert_eq!(found.lines().count(), 1, "{found}");
        }
        let ecr = |account: &str| {
            format!("{{ecr: {{region: eu-west-1, account: '{account}', prefix: p}}}}")
        };
        let arn = |name: &str, region: &str| {
            format!(
                "{region}release: 'arn:aws:kms:eu-west-1:123456789012:key/{name}', log: alias/{name}"
            )
        };
        let one = at(s3, &ecr("123456789012"), &arn("r", ""));
        assert_eq!(problems(&one, &at(s3_2, &ecr("123456789013"), &arn("x", ""))), "");
        let found =
            problems(&one, &at(s3_2, &ecr("123456789012"), &arn("r", "region: us-east-1, ")));
        assert!(
            found.contains("`registry` is also") && found.contains("`keys` is also"),
            "{found}"
        );
    }

    #[test]
    fn nothing_secret_lies_where_it_is_published() {
        for (from, to, expected) in [
            (
                "two/keys",
                "two/store/keys",
                "`keys.directory` lies in `store.directory`, where it would be published",
            ),
            ("two/keys", "two/registry", "`keys.directory` lies in `registry.directory`, "),
            (
                "two/keys",
                "two/announcements/k",
                "`keys.directory` lies in `announcements.directory`, ",
            ),
            (
                "two/keys",
                "one/store/keys",
                "`keys.directory` lies in `store.directory` of infra/environments/one.yaml, ",
            ),
            (
                "two/store",
                "one",
                "`store.directory` holds `keys.directory` of infra/environments/one.yaml, ",
            ),
            (
                "{directory: two/announcements}",
                "{webhook: {address: 'https://hook.example', secret: one/registry/secret}}",
                "`announcements.webhook.secret` lies in `registry.directory` of",
            ),
            (
                "{directory: two/announcements}",
                "{webhook: {address: 'https://hook.example', secret: two/store/secret}}",
                "`announcements.webhook.secret` lies in `store.directory`, ",
            ),
        ] {
            let found = problems(ONE, &with(&[(from, to)]));
            assert!(
                found.starts_with(&format!("infra/environments/two.yaml: {expected}")),
                "{found}"
            );
        }
    }
}
