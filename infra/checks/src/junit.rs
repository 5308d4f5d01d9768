//! Results as `JUnit` XML, the form that every CI reads; and the reader of what upstream's tests write in it.
//!
//! Source: <https://github.com/testmoapp/junitxml>; what ginkgo 1 and 2 write.

use quick_xml::{DeError, SeError, se::Serializer};
use serde::{Deserialize, Serialize};

use crate::result::{CheckResult, Outcome, Report};

/// How large a document may be that is read: upstream's tests list every spec, also those that were not asked for.
pub(crate) const LARGEST: u64 = 64 * 1024 * 1024;

/// A suite, or the root around suites.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Suite {
    #[serde(rename = "@name")]
    name: String,
    #[serde(rename = "@tests", skip_deserializing)]
    tests: usize,
    #[serde(rename = "@failures", skip_deserializing)]
    failures: usize,
    #[serde(rename = "@skipped", skip_deserializing)]
    skipped: usize,
    #[serde(rename = "@time", skip_deserializing)]
    time: String,
    #[serde(rename = "testcase")]
    cases: Vec<Case>,
    #[serde(rename = "testsuite", skip_serializing)]
    suites: Vec<Suite>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Case {
    #[serde(rename = "@name")]
    name: String,
    #[serde(rename = "@classname")]
    class: String,
    #[serde(rename = "@time")]
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Told>,
    #[serde(skip_serializing)]
    error: Option<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Told>,
    #[serde(rename = "system-out", skip_serializing_if = "String::is_empty", skip_deserializing)]
    output: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "@message")]
    message: String,
    #[serde(rename = "$text", skip_serializing_if = "String::is_empty")]
    text: String,
}

/// Writes a report; `suite` is what CI calls it.
pub fn write(report: &Report, suite: &str) -> Result<String, SeError> {
    let count = |is_it: fn(&Outcome) -> bool| {
        report.results.iter().filter(|one| is_it(&one.outcome)).count()
    };
    let suite = Suite {
        name: clean(suite),
        tests: report.results.len(),
        failures: count(|outcome| matches!(outcome, Outcome::Failed(_))),
        skipped: count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        time: seconds(report.results.iter().map(|one| one.seconds).sum()),
        cases: report.results.iter().map(|one| case(one, suite)).collect(),
        suites: Vec::new(),
    };
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut serializer = Serializer::with_root(&mut text, Some("testsuite"))?;
    serializer.indent(' ', 2);
    suite.serialize(serializer)?;
    text.push('\n');
    Ok(text)
}

fn case(result: &CheckResult, suite: &str) -> Case {
    let told = |why: &String| Some(Told { message: clean(why), text: String::new() });
    let (failure, skipped) = match &result.outcome {
        Outcome::Passed => (None, None),
        Outcome::Failed(why) => (told(why), None),
        Outcome::Skipped(why) => (None, told(why)),
    };
    Case {
        name: clean(&result.name),
        class: clean(suite),
        time: seconds(result.seconds),
        failure,
        error: None,
        skipped,
        output: clean(&result.output),
    }
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3}")
}

/// Replaces what XML has no way to write.
///
/// Source: XML 1.0, production 2, `Char`.
fn clean(text: &str) -> String {
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_char(c) { c } else { '\u{fffd}' }).collect()
}

/// Reads what a program of tests wrote.
pub(crate) fn read(text: &str) -> Result<Vec<CheckResult>, DeError> {
    let root: Suite = quick_xml::de::from_str(text)?;
    let all = root.suites.iter().chain([&root]).flat_map(|suite| &suite.cases);
    Ok(all.map(result).collect())
}

fn result(case: &Case) -> CheckResult {
    let (outcome, output) = match (case.failure.as_ref().or(case.error.as_ref()), &case.skipped) {
        (Some(told), _) => {
            let why =
                if told.message.is_empty() { reason(&told.text) } else { told.message.clone() };
            (Outcome::Failed(why), told.text.as_str())
        }
        (None, Some(told)) => (Outcome::Skipped(told.message.clone()), ""),
        (None, None) => (Outcome::Passed, ""),
    };
    CheckResult::new(&case.name, outcome, case.time.parse().unwrap_or_default(), output)
}

/// Why a spec failed, on one line; before it stands where, in words without blanks.
fn reason(text: &str) -> String {
    let lines = text.lines().map(str::trim).skip_while(|line| !line.contains(' '));
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_written_escaped_and_read_again() {
        let hostile = "<&>\"' ]]> \u{0} \u{1b}[31m \u{ffff} é\nline";
        let results = vec![
            CheckResult::new(hostile, Outcome::Passed, 1.5, ""),
            CheckResult::new("fails", Outcome::Failed(hostile.to_owned()), 0.25, hostile),
            CheckResult::skipped("skipped", "no node"),
        ];
        let report = Report { kubernetes: "v1".to_owned(), results };
        let text = write(&report, "kdistro-checks").unwrap();
        assert!(text.contains(r#"tests="3" failures="1" skipped="1" time="1.750""#), "{text}");
        assert!(!text.contains(['\0', '\u{1b}', '\u{ffff}']), "{text}");
        assert!(text.contains("<system-out>&lt;&amp;&gt;"), "{text}");
        let again = read(&text).unwrap();
        let names: Vec<_> = again.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names[1..], ["fails", "skipped"]);
        assert!(names[0].starts_with("<&>\"' ]]> \u{fffd} \u{fffd}[31m \u{fffd} é"), "{names:?}");
        assert!(matches!(&again[1].outcome, Outcome::Failed(why) if why.starts_with("<&>")));
        assert_eq!(again[2].outcome, report.results[2].outcome);
    }

    #[test]
    fn both_generations_of_ginkgo_are_read() {
        let first = r#"<?xml version="1.0" encoding="UTF-8"?>
  <testsuite name="Kubernetes e2e suite" tests="3" failures="1" errors="0" time="9.1">
      <testcase name="[sig-a] One" classname="Kubernetes e2e suite" time="3.25"></testcase>
      <testcase name="[sig-b] Two" classname="Kubernetes e2e suite" time="0"><skipped></skipped></testcase>
      <testcase name="[sig-c] Three" classname="x" time="2">
          <failure type="Failure">service.go:1
it is &lt;nil&gt;
    more</failure>
          <system-out>log</system-out>
      </testcase>
  </testsuite>"#;
        let read_first = read(first).unwrap();
        assert_eq!(read_first[0].outcome, Outcome::Passed);
        assert!((read_first[0].seconds - 3.25).abs() < 1e-9);
        assert_eq!(read_first[1].outcome, Outcome::Skipped(String::new()));
        assert_eq!(read_first[2].outcome, Outcome::Failed("it is <nil> more".to_owned()));
        assert!(read_first[2].output.ends_with("more"));

        let second = r#"<?xml version="1.0" encoding="UTF-8"?>
  <testsuites tests="2" disabled="0" errors="0" failures="1" time="1.0">
    <testsuite name="Kubernetes e2e suite" package="/" tests="2">
      <properties><property name="SuiteSucceeded" value="false"></property></properties>
      <testcase name="[It] [sig-a] One" classname="s" status="passed" time="1"><system-err>x</system-err></testcase>
      <testcase name="[It] [sig-b] Two" classname="s" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
      <testcase name="[It] [sig-c] Three" classname="s" status="failed" time="0"><failure message="it broke" type="failed">[FAILED] it broke</failure></testcase>
    </testsuite>
  </testsuites>"#;
        let read_second = read(second).unwrap();
        assert_eq!(read_second[0].outcome, Outcome::Passed);
        assert_eq!(read_second[2].outcome, Outcome::Failed("it broke".to_owned()));
    }

    #[test]
    fn what_is_no_xml_is_refused() {
        assert!(read("<testsuite><testcase").is_err());
        assert!(read("no xml").is_err());
    }
}
