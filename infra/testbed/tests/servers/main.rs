//! The servers themselves: that they answer, where they listen, and that nothing is left of them.
#![cfg(test)]
#![expect(clippy::print_stdout, reason = "a child answers its parent")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests run the servers' own clients, and this program again"
)]

mod processes;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kdistro_testbed::{PASSWORD, Server, Testbed, USER, tool};

/// Runs a program; returns what it printed, or what it said when it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(said) }
}

/// A program with a testbed's environment.
fn with<'a>(bed: &Testbed, words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).envs(bed.environment()).current_dir(bed.folder());
    command
}

/// Asks an AWS double as the `aws` program does.
#[track_caller]
fn aws(bed: &Testbed, endpoint: &str, words: &str) -> String {
    let mut aws = with(bed, [tool("aws").unwrap().to_str().unwrap()]);
    let aws = aws.args(["--endpoint-url", endpoint, "--output", "text"]);
    run(aws.args(words.split(' '))).unwrap()
}

#[test]
fn all_listen_on_this_machine_only_and_leave_nothing() {
    // What is installed once is not counted.
    tool("aws").unwrap();
    let bed = Testbed::start(&Server::ALL).unwrap();
    let running = processes::of(bed.folder());
    assert_eq!(running.len(), Server::ALL.len() + 1, "each server and the keeper");
    let mut addresses = processes::listening(&running);
    addresses.sort();
    assert_eq!(addresses.len(), Server::ALL.len(), "{addresses:?}");
    assert!(addresses.iter().all(|address| address.starts_with("0100007F:")), "{addresses:?}");
    let folder = bed.folder().to_owned();
    drop(bed);
    assert!(!folder.exists());
    assert!(processes::of(&folder).is_empty());
    assert!(processes::listening(&running).is_empty());
}

#[test]
fn many_run_at_once() {
    let some = [Server::Aws, Server::Registry, Server::PlainRegistry, Server::Git];
    let beds: Vec<_> = thread::scope(|scope| {
        let starting = [(); 3].map(|()| scope.spawn(|| Testbed::start(&some).unwrap()));
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // They outlive the threads that started them.
    thread::sleep(Duration::from_millis(200));
    let mut addresses = Vec::new();
    for bed in &beds {
        assert_eq!(processes::of(bed.folder()).len(), some.len() + 1);
        assert_eq!(bed.moto(), "");
        for address in [bed.aws(), bed.registry(), bed.plain_registry(), bed.git()] {
            addresses.push(address.rsplit(':').next().unwrap().to_owned());
        }
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), beds.len() * some.len());
    let aws = |bed: &Testbed, words: &str| aws(bed, bed.aws(), words);
    aws(&beds[0], "s3 mb s3://first");
    assert!(aws(&beds[0], "s3 ls").contains("first"));
    assert_eq!(aws(&beds[1], "s3 ls"), "");
}

/// Uses each service that a release is published with; says what came of it.
const USE: &str = r#"
import sys, boto3
at = lambda service: boto3.client(service, endpoint_url=sys.argv[1])
s3, sns, sqs, kms = at("s3"), at("sns"), at("sqs"), at("kms")
s3.create_bucket(Bucket="bucket")
s3.put_object(Bucket="bucket", Key="file", Body=b"content")
print(s3.get_object(Bucket="bucket", Key="file")["Body"].read().decode())
topic, queue = sns.create_topic(Name="topic")["TopicArn"], sqs.create_queue(QueueName="queue")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
sns.publish(TopicArn=topic, Message="hello")
print(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]["Body"])
key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
print(kms.describe_key(KeyId=key)["KeyMetadata"]["KeySpec"])
signed = kms.sign(KeyId=key, Message=bytes(32), MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
print(signed["Signature"][0])
print(at("ecr").create_repository(repositoryName="team/image")["repository"]["repositoryName"])
print(len(at("sts").get_caller_identity()["Account"]), at("cloudformation").list_stacks()["StackSummaries"])
"#;

#[test]
fn the_aws_doubles_do_what_is_published_with() {
    let bed = Testbed::start(&[Server::Aws, Server::Moto]).unwrap();
    let python = tool("python").unwrap();
    for endpoint in [bed.aws(), bed.moto()] {
        let words = [python.to_str().unwrap(), "-I", "-c", USE, endpoint];
        let said = run(&mut with(&bed, words)).unwrap();
        let said: Vec<&str> = said.lines().collect();
        // A signature is a sequence in DER.
        let expected = ["content", "hello", "ECC_NIST_P256", "48", "team/image", "12 []"];
        assert_eq!(said, expected, "{endpoint}");
    }
}

/// Pushes a blob and reads it; says what each answer was.
const PUSH: &str = r#"
import hashlib, os, sys, requests
registry, ca, user, password = sys.argv[1:]
session = requests.Session()
# A bundle of authorities that the environment names would be used in place of the one that is told.
session.trust_env = False
session.verify, session.auth = (ca or None), (user, password) if user else None
print(session.get(f"{registry}/v2/").status_code)
content = os.urandom(3 << 20)
digest = "sha256:" + hashlib.sha256(content).hexdigest()
begun = session.post(f"{registry}/v2/team/image/blobs/uploads/")
print(begun.status_code)
if begun.status_code == 202:
    print(session.put(begun.headers["Location"] + "&digest=" + digest, data=content).status_code)
    print(session.get(f"{registry}/v2/team/image/blobs/{digest}").content == content)
"#;

#[test]
fn the_registries_take_blobs_one_of_them_with_the_password_of_ecr_only() {
    let bed = Testbed::start(&[Server::Aws, Server::Registry, Server::PlainRegistry]).unwrap();
    let python = tool("python").unwrap();
    let push = |registry: String, user: &str, password: &str| {
        let ca = if registry.starts_with("https") { bed.ca() } else { "".into() };
        let python = python.to_str().unwrap();
        let words = [python, "-I", "-c", PUSH, &registry, ca.to_str().unwrap(), user, password];
        run(&mut with(&bed, words))
            .map(|said| said.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let secret = format!("https://{}", bed.registry());
    assert_eq!(push(secret.clone(), USER, PASSWORD).unwrap(), "200 202 201 True");
    assert_eq!(push(secret.clone(), USER, "wrong").unwrap(), "401 401");
    assert_eq!(push(secret.clone(), "wrong", PASSWORD).unwrap(), "401 401");
    assert_eq!(push(secret, "", "").unwrap(), "401 401");
    let open = format!("http://{}", bed.plain_registry());
    assert_eq!(push(open, "", "").unwrap(), "200 202 201 True");
    let token = "ecr get-authorization-token --query authorizationData[0].authorizationToken";
    let token = aws(&bed, bed.aws(), token);
    let decoded = run(with(&bed, ["python3", "-c"])
        .args(["import base64, sys; print(base64.b64decode(sys.argv[1]).decode())", token.trim()]));
    assert_eq!(decoded.unwrap().trim(), format!("{USER}:{PASSWORD}"));
}

#[test]
fn the_certificate_is_good_for_the_names_it_says_and_no_other() {
    let bed = Testbed::start(&[Server::Registry, Server::Git]).unwrap();
    let certificate = bed.folder().join("server.pem");
    let verify = |option: &str, name: &str| {
        let authority = bed.ca();
        let files = ["-CAfile", authority.to_str().unwrap(), certificate.to_str().unwrap()];
        let words = ["openssl", "verify", "-purpose", "sslserver", "-x509_strict", option, name];
        run(&mut with(&bed, words.into_iter().chain(files))).is_ok()
    };
    assert!(verify("-verify_hostname", "localhost"));
    assert!(verify("-verify_hostname", "000000000000.dkr.ecr.us-east-1.amazonaws.com"));
    assert!(verify("-verify_ip", "127.0.0.1"));
    assert!(!verify("-verify_hostname", "example.org"));
    let key = bed.folder().join("ca.key");
    assert!(!key.exists(), "whoever finds it could sign more");
}

#[test]
fn git_fetches_and_pushes() {
    let bed = Testbed::start(&[Server::Git]).unwrap();
    let url = format!("{}/team/project.git", bed.git());
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let mut git = with(&bed, ["git"].into_iter().chain(identity).chain(words.iter().copied()));
        git.env("HOME", bed.folder()).env("GIT_TERMINAL_PROMPT", "0");
        run(&mut git)
    };
    let root = bed.git_root().join("team/project.git");
    git(&["init", "-q", "--bare", "-b", "main", root.to_str().unwrap()]).unwrap();
    git(&["clone", "-q", &url, "one"]).unwrap();
    // More than git sends in one piece.
    let noise: Vec<u8> =
        (0..1u32 << 20).flat_map(|word| word.wrapping_mul(word | 1).to_le_bytes()).collect();
    fs::write(bed.folder().join("one/file"), &noise).unwrap();
    git(&["-C", "one", "add", "file"]).unwrap();
    git(&["-C", "one", "commit", "-q", "-m", "one"]).unwrap();
    git(&["-C", "one", "push", "-q", "origin", "HEAD:main"]).unwrap();
    git(&["clone", "-q", "--depth", "1", &url, "two"]).unwrap();
    assert!(fs::read(bed.folder().join("two/file")).unwrap() == noise);
    let missing = git(&["ls-remote", &format!("{}/missing.git", bed.git())]).unwrap_err();
    assert!(missing.contains("not found"), "{missing}");
    let mut stranger = with(&bed, ["git", "ls-remote", &url]);
    let refused = run(stranger.env_remove("GIT_SSL_CAINFO")).unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
}

/// This program again, as the one that starts servers and is killed.
#[test]
#[ignore = "started by `dies_with_whoever_started_it`"]
fn child() {
    let bed = Testbed::start(&[Server::Aws, Server::PlainRegistry, Server::Git]).unwrap();
    println!("folder: {}", bed.folder().display());
    thread::sleep(Duration::from_hours(1));
}

#[test]
fn dies_with_whoever_started_it() {
    tool("aws").unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut folders = lines.filter_map(|line| line.strip_prefix("folder: ").map(str::to_owned));
    let folder = folders.next().unwrap();
    let folder = Path::new(&folder);
    let running = processes::of(folder);
    assert_eq!(running.len(), 4);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    processes::gone(folder);
    assert!(processes::listening(&running).is_empty());
}

#[test]
fn dies_with_its_keeper() {
    let bed = Testbed::start(&[Server::PlainRegistry, Server::Git]).unwrap();
    let running = processes::of(bed.folder());
    let keeper = running.iter().find(|number| {
        fs::read_to_string(format!("/proc/{number}/cmdline"))
            .unwrap()
            .contains("The parent of the servers")
    });
    run(Command::new("kill").args(["-KILL", &keeper.unwrap().to_string()])).unwrap();
    let begin = Instant::now();
    while !processes::of(bed.folder()).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", processes::of(bed.folder()));
        thread::sleep(Duration::from_millis(5));
    }
    let folder = bed.folder().to_owned();
    drop(bed);
    assert!(!folder.exists());
}

#[test]
fn tells_programs_where_the_servers_are() {
    let bed = Testbed::start(&[Server::PlainRegistry, Server::Git]).unwrap();
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let expected = [
        ("GIT_SSL_CAINFO", at(&bed.ca())),
        ("TESTBED_CA", at(&bed.ca())),
        ("TESTBED_FOLDER", at(bed.folder())),
        ("TESTBED_GIT", bed.git().to_owned()),
        ("TESTBED_GIT_ROOT", at(&bed.git_root())),
        ("TESTBED_PLAIN_REGISTRY", bed.plain_registry().to_owned()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(bed.environment(), expected);
}
