//! What people write for the builder.

use kdistro::config::{
    Files, Workspace,
    environment::{self, Environment},
};
use kdistro_border::is_address;

/// Files of which none but the chosen one is wrong.
const FILES: [(&str, &str); 4] = [
    ("projects/inputs.yaml", include_str!("../seeds/inputs.yaml")),
    ("projects/tiny/hello/project.yaml", include_str!("../seeds/project.yaml")),
    ("release-manifests/9-1/channel.yaml", include_str!("../seeds/channel.yaml")),
    ("release-manifests/9-1/channel.lock.yaml", ""),
];

/// The files of projects and channels, the number of one in front.
pub fn configuration(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let Some((chosen, _)) = FILES.get(usize::from(*which) % FILES.len()) else { return };
    let distribution = b"name: tiny\nurl: https://tiny.example\n".to_vec();
    let mut files = Files::from([("release-manifests/distribution.yaml".to_owned(), distribution)]);
    for (name, text) in FILES.iter().filter(|(_, text)| !text.is_empty()) {
        files.insert((*name).to_owned(), text.as_bytes().to_vec());
    }
    files.insert((*chosen).to_owned(), data.to_vec());
    if let Err(problems) = Workspace::read(files) {
        assert!(!problems.is_empty(), "refused without a reason");
        assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
    }
}

/// An environment's file: nothing is sent to what is no address, and the log is called as a host.
pub fn environment(data: &[u8]) {
    let path = environment::file("seed");
    match Environment::read(&path, data) {
        Ok(read) => {
            assert_eq!(read.name, "seed");
            assert!(environment::is_host(&read.log_origin), "{}", read.log_origin);
            let is_arn = read.topic().is_none_or(|topic| topic.starts_with("arn:"));
            assert!(is_arn, "{:?}", read.topic());
            if let environment::AnnouncementPlace::Webhook(webhook) = &read.announcements {
                assert!(is_address(&webhook.address), "{}", webhook.address);
            }
            if let environment::RegistryPlace::Oci(registry) = &read.registry {
                assert!(is_address(&registry.address), "{}", registry.address);
            }
        }
        Err(problem) => assert!(problem.to_string().starts_with(&path), "{problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn what_the_seeds_say_is_accepted() {
        for seed in seeds::of("environment").unwrap() {
            Environment::read(&environment::file("seed"), &seed).unwrap();
        }
    }
}
