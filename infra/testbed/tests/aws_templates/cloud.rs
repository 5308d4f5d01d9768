//! A double of AWS that judges each call by the policies of who makes it, and what is deployed into it.

use std::{
    collections::BTreeMap,
    fs,
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kdistro_testbed::tool;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nginx::Nginx;

/// Who signs CI's tokens.
pub(crate) const ISSUER: &str = "token.actions.githubusercontent.com";
/// Whose CI publishes.
pub(crate) const REPOSITORY: &str = "example/kdistro";

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn template(name: &str) -> PathBuf {
    own("../aws").join(name)
}

/// A program of the virtual environment.
pub(crate) fn program(name: &str) -> Command {
    Command::new(tool(name).unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[track_caller]
pub(crate) fn must(output: Output) -> String {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out
}

/// One call of the API.
pub(crate) fn call(service: &str, operation: &str, parameters: Value) -> Value {
    let mut call = json!({"service": service, "operation": operation});
    call["parameters"] = parameters;
    call
}

/// ministack with policies in force.
struct Ministack(Child);

impl Ministack {
    /// Starts it in a folder; returns its address, too.
    fn start(folder: &Path) -> (Self, String) {
        let (port, log) = (folder.join("port"), File::create(folder.join("aws.log")).unwrap());
        // Should this test be killed, it dies too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(tool("python").unwrap());
        command.arg(own("src/programs/aws.py")).arg(folder).arg(&port);
        command.env("AUTH", "true").env("TMPDIR", folder).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut started = Self(command.spawn().unwrap());
        let begun = Instant::now();
        loop {
            let said = || fs::read_to_string(folder.join("aws.log")).unwrap();
            assert!(started.0.try_wait().unwrap().is_none(), "ministack ended: {}", said());
            assert!(begun.elapsed() < Duration::from_mins(1), "no answer: {}", said());
            if let Ok(port) = fs::read_to_string(&port)
                && let Ok(answer) = ask(&format!("127.0.0.1:{port}"), "x", "/_ministack/health")
                && answer.status == 200
            {
                return (started, format!("127.0.0.1:{port}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// ministack with policies in force, and nginx before it as the end of TLS.
pub(crate) struct Cloud {
    _ministack: Ministack,
    /// Its address, without TLS.
    pub(crate) plain: String,
    tls: Nginx,
    // Last: who still writes there must be gone when it is removed.
    folder: TempDir,
}

impl Cloud {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ministack, plain) = Ministack::start(folder.path());
        let tls = Nginx::start(&folder.path().join("nginx"), |[address, _]| {
            format!(
                "client_max_body_size 0;\nserver {{ listen {address}; location / {{\n\
                 proxy_pass http://{plain};\nproxy_set_header Host $http_host;\n\
                 proxy_set_header X-Forwarded-Proto https;\n}} }}\n"
            )
        });
        Self { _ministack: ministack, plain, tls, folder }
    }

    /// Its address, with what stands for TLS.
    pub(crate) fn secure(&self) -> &str {
        &self.tls.addresses[0]
    }

    /// Runs Amazon's own program.
    pub(crate) fn aws(&self, words: &[&str]) -> Output {
        let mut aws = program("aws");
        aws.env_clear().env("HOME", self.folder.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        aws.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        aws.env("AWS_DEFAULT_REGION", "us-east-1");
        aws.env("AWS_ENDPOINT_URL", format!("http://{}", self.secure()));
        aws.args(words).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn deploy(&self, stack: &str, name: &str, parameters: &[&str]) -> Output {
        let file = template(name);
        let mut words = vec!["cloudformation", "deploy", "--no-fail-on-empty-changeset"];
        words.extend(["--capabilities", "CAPABILITY_IAM", "--stack-name", stack]);
        words.extend(["--template-file", file.to_str().unwrap()]);
        if !parameters.is_empty() {
            words.push("--parameter-overrides");
        }
        self.aws(&[&words, parameters].concat())
    }

    /// Makes calls; returns for each the `answer`, or the code with which it was `refused`.
    #[track_caller]
    pub(crate) fn calls(&self, mut calls: Vec<Value>) -> Vec<Value> {
        for call in &mut calls {
            if call.get("endpoint").is_none() {
                call["endpoint"] = json!(format!("http://{}", self.secure()));
            }
        }
        let mut python = program("python");
        python.arg(own("tests/aws_templates/calls.py")).env_clear();
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = python.spawn().unwrap();
        child.stdin.take().unwrap().write_all(Value::from(calls).to_string().as_bytes()).unwrap();
        serde_json::from_str(&must(child.wait_with_output().unwrap())).unwrap()
    }

    /// Makes one call that must be answered.
    #[track_caller]
    pub(crate) fn call(&self, service: &str, operation: &str, parameters: Value) -> Value {
        let answer = self.calls(vec![call(service, operation, parameters)]).remove(0);
        assert!(answer.get("answer").is_some(), "{service} {operation}: {answer}");
        answer["answer"].clone()
    }

    /// Deploys a template, which must work; returns what the stack puts out.
    #[track_caller]
    pub(crate) fn stack(
        &self,
        stack: &str,
        name: &str,
        parameters: &[&str],
    ) -> BTreeMap<String, String> {
        must(self.deploy(stack, name, parameters));
        let found = self.call("cloudformation", "DescribeStacks", json!({"StackName": stack}));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let outputs = found["Stacks"][0]["Outputs"].as_array().unwrap();
        let pair = |output: &Value| (text(&output["OutputKey"]), text(&output["OutputValue"]));
        outputs.iter().map(pair).collect()
    }

    /// Deploys an environment; returns what its stack puts out.
    #[track_caller]
    pub(crate) fn environment(&self, name: &str, more: &[&str]) -> BTreeMap<String, String> {
        let (environment, prefix) =
            (format!("Environment={name}"), format!("RegistryPrefix=kdistro-{name}"));
        let (repository, log) =
            (format!("Repository={REPOSITORY}"), format!("LogOrigin=log.{name}.example"));
        let parameters = [&[environment.as_str(), &prefix, &repository, &log], more].concat();
        self.stack(&format!("kdistro-{name}"), "environment.yaml", &parameters)
    }

    /// Trusts CI's tokens, as account.yaml says.
    pub(crate) fn trust(&self) {
        let provider = &read("account.yaml")["Resources"]["Provider"]["Properties"];
        assert_eq!(provider["Url"], json!({"Fn::Sub": "https://${Issuer}"}));
        let url = format!("https://{ISSUER}");
        let parameters = json!({"Url": url, "ClientIDList": ["sts.amazonaws.com"]});
        self.call("iam", "CreateOpenIDConnectProvider", parameters);
    }

    /// Asks for credentials with a token of CI that says this.
    pub(crate) fn token(&self, role: &str, claims: &Value) -> Value {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"alg": "RS256", "typ": "JWT"});
        let token = format!("{}.{}.c2lnbmF0dXJl", part(&head), part(claims));
        let session = json!({"RoleArn": role, "RoleSessionName": "ci", "WebIdentityToken": token});
        self.calls(vec![call("sts", "AssumeRoleWithWebIdentity", session)]).remove(0)
    }

    /// Returns the credentials of CI in an environment.
    #[track_caller]
    pub(crate) fn ci(&self, role: &str, environment: &str) -> Value {
        let answer = self.token(role, &claims(environment));
        let credentials = &answer["answer"]["Credentials"];
        assert!(credentials.is_object(), "{answer}");
        credentials.clone()
    }
}

/// What CI's token says in an environment.
pub(crate) fn claims(environment: &str) -> Value {
    let subject = format!("repo:{REPOSITORY}:environment:{environment}");
    json!({"iss": format!("https://{ISSUER}"), "aud": "sts.amazonaws.com", "sub": subject})
}

/// Reads a template with its short forms written out, as cfn-lint does.
pub(crate) fn read(name: &str) -> Value {
    let script = "import json, sys, cfnlint.decode\n\
                  template, problems = cfnlint.decode.decode(sys.argv[1])\n\
                  assert not problems, problems\n\
                  print(json.dumps(template))";
    let output = program("python").args(["-c", script]).arg(template(name)).output().unwrap();
    serde_json::from_str(&must(output)).unwrap()
}

/// What a web server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lowercase.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks a server by a name of its.
pub(crate) fn ask(address: &str, host: &str, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}
