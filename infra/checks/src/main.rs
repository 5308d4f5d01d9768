//! `kdistro-checks`: checks a Kubernetes cluster.
//!
//! Exit codes: 0 all passed; 1 a check failed; 2 could not tell.

mod cli;

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use kdistro_checks::{
    BUILTIN, Check, CheckResult, Expects, Order, Report,
    conformance::{self, Conformance},
    run, write_junit,
};
use kdistro_formats::terminal::{printable_json, printable_lines};

use cli::{Cli, Command, Run};

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Run(run) => check(&cli, run),
        Command::List => list(&cli).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => complete(*shell).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        // When even this cannot be written, the exit code still says it.
        let _ = writeln!(io::stderr(), "error: {}", told(&*error));
        ExitCode::from(2)
    })
}

fn check(cli: &Cli, wanted: &Run) -> Result<ExitCode, Failure> {
    // Who looks at both sees each result once.
    let is_seen = !cli.json && io::stdout().is_terminal() && io::stderr().is_terminal();
    let mut say = |result: &CheckResult| {
        let text = if is_seen { result.text() } else { format!("{}\n", result.line()) };
        // Progress that cannot be shown hinders nothing.
        let _ = io::stderr().write_all(text.as_bytes());
    };
    let report = run(&order(wanted), &mut say)?;
    if let Some(path) = &wanted.junit {
        let text = write_junit(&report, "kdistro-checks")?;
        fs::write(path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    show(cli, &report, is_seen)?;
    Ok(if report.failed().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn order(wanted: &Run) -> Order {
    let mut checks = Vec::new();
    checks.extend(wanted.builtin.then_some(Check::Builtin));
    checks.extend(wanted.job.iter().cloned().map(Check::Job));
    checks.extend((!wanted.own.is_empty()).then(|| Check::Command(wanted.own.clone())));
    checks.extend(wanted.conformance.clone().map(|e2e_test| {
        Check::Conformance(Conformance {
            kubectl: wanted.kubectl.clone().unwrap_or_else(|| e2e_test.with_file_name("kubectl")),
            e2e_test,
            registry: wanted.registry.clone(),
            limit: wanted.own_limit,
        })
    }));
    if checks.is_empty() {
        checks.push(Check::Builtin);
    }
    Order {
        release: wanted.release.clone(),
        owner: wanted.owner.clone(),
        image: wanted.image.clone(),
        checks,
        limit: wanted.limit,
        own_limit: wanted.own_limit,
        expects: Expects { node: wanted.expect_node, dns: wanted.expect_dns },
        ..Order::new(&wanted.kubeconfig)
    }
}

/// Writes the report; of what was seen already only the sum.
fn show(cli: &Cli, report: &Report, is_seen: bool) -> Result<(), Failure> {
    if cli.json {
        let text = printable_json(&serde_json::to_string_pretty(report)?);
        return Ok(writeln!(io::stdout(), "{text}")?);
    }
    let text = if is_seen { report.sum() } else { report.text() };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn list(cli: &Cli) -> Result<(), Failure> {
    let specs: Vec<_> = conformance::specs().into_iter().map(|spec| spec.name).collect();
    if cli.json {
        let ours =
            BUILTIN.iter().map(|one| serde_json::json!({"name": one.name, "about": one.about}));
        let all = serde_json::json!({"builtin": ours.collect::<Vec<_>>(), "conformance": specs});
        return Ok(writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&all)?)?);
    }
    let mut text = String::from("our own:\n");
    for check in BUILTIN {
        let _ = writeln!(text, "  {:<28}{}", check.name, check.about);
    }
    text.push_str("upstream's specs:\n");
    for spec in specs {
        let _ = writeln!(text, "  {spec}");
    }
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn complete(shell: clap_complete::Shell) -> Result<(), Failure> {
    // Into memory first: the library panics where a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kdistro-checks", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// An error with its causes, and below them what helps.
fn told(error: &(dyn Error + 'static)) -> String {
    let (mut said, mut help) = (Vec::new(), String::new());
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let text = error.to_string();
        let (what, helps) = text.split_once("\nhelp:  ").unwrap_or((&text, ""));
        // Some libraries repeat the cause in their own text.
        if !said.last().is_some_and(|last: &String| last.ends_with(what)) {
            said.push(printable_lines(what));
        }
        if !helps.is_empty() {
            let _ = write!(help, "\nhelp:  {}", printable_lines(helps));
        }
    }
    said.join(": ") + &help
}
