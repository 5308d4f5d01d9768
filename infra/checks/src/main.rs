//! `kdistro-checks`: checks a Kubernetes cluster.
//!
//! Exit codes: 0 all passed; 1 a check failed; 2 could not tell.

mod cli;

use std::{
    env,
    error::Error,
    ffi::OsString,
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
use kdistro_formats::{
    failure::{Failure, asks_for_json},
    terminal::printable_json,
};

use cli::{Cli, Command, Run};

type Trouble = Box<dyn Error>;

/// The exit code of every error.
const UNKNOWN: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, &arguments),
    };
    let done = match &cli.command {
        Command::Run(run) => check(&cli, run),
        Command::List => list(&cli).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => complete(*shell).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        tell(&Failure::of(&*error, UNKNOWN), cli.json);
        ExitCode::from(UNKNOWN)
    })
}

/// Tells how the program is used; help and version are asked for.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.use_stderr() && asks_for_json(arguments) {
        tell(&Failure::of_usage(&error.render().to_string(), UNKNOWN), true);
        return ExitCode::from(UNKNOWN);
    }
    // When even this cannot be written, the exit code still says it.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(UNKNOWN))
}

/// Tells an error on standard error, or as the one document on standard output.
fn tell(failure: &Failure, json: bool) {
    // When even this cannot be written, the exit code still says it.
    let _ = match serde_json::to_string_pretty(failure) {
        Ok(text) if json => writeln!(io::stdout(), "{}", printable_json(&text)),
        _ => writeln!(io::stderr(), "error: {}", failure.told()),
    };
}

fn check(cli: &Cli, wanted: &Run) -> Result<ExitCode, Trouble> {
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
fn show(cli: &Cli, report: &Report, is_seen: bool) -> Result<(), Trouble> {
    if cli.json {
        let text = printable_json(&serde_json::to_string_pretty(report)?);
        return Ok(writeln!(io::stdout(), "{text}")?);
    }
    let text = if is_seen { report.sum() } else { report.text() };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn list(cli: &Cli) -> Result<(), Trouble> {
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

fn complete(shell: clap_complete::Shell) -> Result<(), Trouble> {
    // Into memory first: the library panics where a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kdistro-checks", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
