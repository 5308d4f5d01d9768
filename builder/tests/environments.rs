//! What is written about environments outside of the code, read by the reader of the program: the example and the
//! options in README.md, and the file that a deployed infra/aws/environment.yaml puts out.
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro::config::environment::{self, Environment, KeyPlace, RegistryPlace, StorePlace};
use kdistro_testbed::{Server, Testbed};
use serde_json::Value;

fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn readme() -> String {
    fs::read_to_string(top("README.md")).unwrap()
}

/// The example of an environment's file in README.md.
fn example() -> String {
    let readme = readme();
    let mut blocks = readme.split("```yaml\n").skip(1);
    let example = blocks.next().unwrap().split("```").next().unwrap().to_owned();
    // A subscriber's file is read by a test of kdistro-rollout.
    let other = blocks.find(|block| !block.starts_with("cluster: "));
    assert!(other.is_none(), "another block of YAML, which no test reads");
    example
}

/// Reads a file of an environment `dev`.
fn read(text: &str) -> Result<Environment, String> {
    let read = Environment::read(&environment::file("dev"), text.as_bytes());
    read.map_err(|problem| problem.to_string())
}

/// All that the reader knows in place of `nonsense`.
fn known(text: &str) -> BTreeSet<String> {
    let problem = read(text).unwrap_err();
    assert!(problem.contains(" `nonsense`"), "{problem}");
    let (_, names) = problem.split_once(" expected one of ").unwrap();
    let names = names.split_once(" (column").map_or(names, |(names, _)| names);
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_example_of_the_readme_is_an_environment_with_every_field() {
    let example = example();
    assert!(read(&example).unwrap().development);
    let named = example.lines().map(|line| line.split_once(':').unwrap().0.to_owned());
    assert_eq!(named.collect::<BTreeSet<_>>(), known(&format!("{example}nonsense: 1\n")));
}

#[test]
fn the_readme_lists_every_option_of_every_place_and_no_other() {
    let (example, readme) = (example(), readme());
    for part in ["store", "registry", "announcements", "keys"] {
        let of_part = |prefix: &str, text: &str| {
            let found = text.lines().find(|line| line.starts_with(prefix));
            found.unwrap_or_else(|| panic!("`{part}` is nowhere")).to_owned()
        };
        let row = of_part(&format!("| `{part}` |"), &readme);
        let line = of_part(&format!("{part}: "), &example);
        let known = |place: &str| known(&example.replace(&line, &format!("{part}: {place}")));
        assert!(row.contains("`{directory: …}`"), "{row}");
        let mut kinds = BTreeSet::from(["directory".to_owned()]);
        for place in row.split("`{").filter(|place| place.contains(": {")) {
            let (kind, options) = place.split_once(": {").unwrap();
            let (options, _) = options.split_once("}}`").unwrap();
            let options: BTreeSet<_> = options.split(", ").map(str::to_owned).collect();
            assert_eq!(options, known(&format!("{{{kind}: {{nonsense: 1}}}}")), "{part}: {kind}");
            kinds.insert(kind.to_owned());
        }
        assert_eq!(kinds, known("{nonsense: 1}"), "{part}");
    }
}

/// Runs Amazon's own program.
#[expect(clippy::disallowed_methods, reason = "it deploys the template as a user does")]
fn aws(bed: &Testbed, words: &[&str]) -> String {
    let mut aws = Command::new(kdistro_testbed::tool("aws").unwrap());
    aws.env_clear().env("HOME", bed.folder()).envs(bed.environment());
    let output = aws.args(words).output().unwrap();
    let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {err}");
    String::from_utf8(out).unwrap()
}

/// Deploys an environment `dev`; returns what its stack puts out.
fn deploy(bed: &Testbed) -> BTreeMap<String, String> {
    let template = top("infra/aws/environment.yaml");
    let stack = ["--stack-name", "kdistro-dev"];
    let deploy =
        ["cloudformation", "deploy", "--capabilities", "CAPABILITY_IAM", "--template-file"];
    let parameters = ["Environment=dev", "Repository=a/b", "RegistryPrefix=kdistro"];
    let more = ["--parameter-overrides", "LogOrigin=log.example.org"];
    aws(bed, &[&deploy[..], &[template.to_str().unwrap()], &stack, &more, &parameters].concat());
    let found = aws(bed, &[&["cloudformation", "describe-stacks"][..], &stack].concat());
    let found: Value = serde_json::from_str(&found).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let outputs = found["Stacks"][0]["Outputs"].as_array().unwrap().iter();
    outputs.map(|output| (text(&output["OutputKey"]), text(&output["OutputValue"]))).collect()
}

#[test]
fn what_is_deployed_puts_out_the_whole_file_of_its_environment() {
    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let outputs = deploy(&bed);
    let environment = read(&outputs["EnvironmentFile"]).unwrap();
    assert!(!environment.development);
    assert_eq!(environment.log_origin, "log.example.org");
    assert_eq!(environment.topic(), Some(outputs["Topic"].as_str()));
    let region = Some("us-east-1");
    let StorePlace::S3(store) = &environment.store else { panic!("{environment:?}") };
    assert_eq!((store.bucket.as_str(), store.region.as_deref()), (&*outputs["Bucket"], region));
    let KeyPlace::Kms(keys) = &environment.keys else { panic!("{environment:?}") };
    assert_eq!((&keys.release, &keys.log), (&outputs["ReleaseKey"], &outputs["LogKey"]));
    assert_eq!(keys.region.as_deref(), region);
    let RegistryPlace::Ecr(registry) = &environment.registry else { panic!("{environment:?}") };
    assert_eq!(registry.region.as_deref(), region);
    let account = registry.account.as_deref().unwrap();
    let name = format!("{account}.dkr.ecr.us-east-1.amazonaws.com/{}", registry.prefix);
    assert_eq!(name, outputs["Registry"]);
}
