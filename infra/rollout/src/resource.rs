//! Keeps the `Rollout` of a cluster: an object of the cluster itself that says how things stand, and events about it.
//!
//! Its type is `deploy/kubernetes/rollouts.yaml`. It is written for people and alerts, and never read to decide anything.

use jiff::Timestamp;
use kdistro_devcluster::{Cluster, DevclusterError};
use serde_json::{Value, json};

use crate::{
    history::{Direction, Event, Follows, Standing, What},
    kubectl::{Kubectl, KubectlError},
    policy::{RollOutBy, Subscriber},
};

/// The type, as one file for kubectl.
const TYPE: &str = include_str!("../deploy/kubernetes/rollouts.yaml");
/// How kubectl calls it.
const KIND: &str = "rollouts.distro.kdistro.dev";
const API_VERSION: &str = "distro.kdistro.dev/v1alpha1";

/// The longest texts that the type allows, in characters: of a decision and of a reason, and of an event of Kubernetes.
const LONGEST: usize = 4096;
const LONGEST_EVENT: usize = 1024;
/// How many releases that are held it has room for.
const MOST_HELD: usize = 100;
/// How many events are told at once: what is older was.
const EVENTS: usize = 50;

/// An object that is not as things stand.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
    /// There is no such devcluster.
    #[error(transparent)]
    Cluster(#[from] DevclusterError),
}

/// The `Rollout` of one cluster.
pub struct Resource {
    kubectl: Kubectl,
    /// Whether its type is brought along: a devcluster is ours.
    brings_type: bool,
}

impl Resource {
    /// The object that a subscriber wants to be kept; none where none.
    pub fn of(subscriber: &Subscriber) -> Result<Option<Self>, DevclusterError> {
        let Some(place) = &subscriber.resource else { return Ok(None) };
        Ok(Some(match &subscriber.driver {
            RollOutBy::Devcluster(it) if place.kubeconfig.is_none() => {
                let cluster = Cluster::open(&it.home, &it.name)?;
                let kubectl = Kubectl::of_devcluster(cluster, &place.namespace);
                Self { kubectl, brings_type: true }
            }
            _ => Self { kubectl: Kubectl::of_cluster(place), brings_type: false },
        }))
    }

    /// Writes how things stand.
    pub fn write(&self, standing: &Standing, now: Timestamp) -> Result<(), ResourceError> {
        let Some(follows) = &standing.follows else { return Ok(()) };
        let found = self.find(&follows.cluster)?;
        let spec = spec(follows);
        let current = match found {
            Some(found) if found.get("spec") == Some(&spec) => found,
            _ => self.apply(follows, &spec)?,
        };
        let before = current.get("status");
        let told = before.and_then(|status| time(status.get("lookedAt")?));
        let namespace = self.kubectl.namespace();
        let name = &follows.cluster;
        let whole = json!({
            "apiVersion": API_VERSION, "kind": "Rollout", "spec": spec,
            "metadata": {
                "name": name, "namespace": namespace, "uid": current.pointer("/metadata/uid"),
                "resourceVersion": current.pointer("/metadata/resourceVersion"),
            },
            "status": status(standing, (&current, now)),
        });
        // First: the status says until when they were told.
        for event in standing.events.iter().rev().take(EVENTS).rev() {
            if told.is_none_or(|told| event.at > told) {
                self.tell(&whole, event)?;
            }
        }
        let path = format!("/apis/{API_VERSION}/namespaces/{namespace}/rollouts/{name}/status");
        let replace = ["replace", "--raw", &path, "--filename", "-"];
        self.kubectl.run("replace", &replace, whole.to_string().as_bytes())?;
        Ok(())
    }

    /// Finds the object; where its type is ours to bring and is not there, that is brought first.
    fn find(&self, name: &str) -> Result<Option<Value>, KubectlError> {
        let found = self.kubectl.read(KIND, name);
        if found.is_ok() || !self.brings_type {
            return found;
        }
        self.kubectl.run("apply", &["apply", "--filename", "-"], TYPE.as_bytes())?;
        let wait = ["wait", "--for=condition=established", "--timeout=15s", &format!("crd/{KIND}")];
        self.kubectl.run("wait", &wait, b"")?;
        self.kubectl.read(KIND, name)
    }

    fn apply(&self, follows: &Follows, spec: &Value) -> Result<Value, KubectlError> {
        let object = json!({
            "apiVersion": API_VERSION, "kind": "Rollout", "spec": spec,
            "metadata": {"name": follows.cluster, "namespace": self.kubectl.namespace()},
        });
        let apply = ["apply", "--output", "json", "--filename", "-"];
        let bytes = self.kubectl.run("apply", &apply, object.to_string().as_bytes())?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Tells an event to whoever looks at the events of the cluster. One that was told already is left as it is.
    fn tell(&self, object: &Value, event: &Event) -> Result<(), KubectlError> {
        let kubernetes = self.event(object, event).to_string();
        match self.kubectl.run("create", &["create", "--filename", "-"], kubernetes.as_bytes()) {
            Err(KubectlError::Failed { said, .. }) if said.contains("AlreadyExists") => Ok(()),
            told => told.map(drop),
        }
    }

    /// Source: Kubernetes, `v1`, `Event`.
    fn event(&self, object: &Value, event: &Event) -> Value {
        let Event { at, release, what, text } = event;
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let namespace = self.kubectl.namespace();
        let is_bad = matches!(what, What::Failed | What::RolledBack);
        let when = format!("{at:.0}");
        let about = release.as_ref().map_or(String::new(), |release| format!("{release}: "));
        let said = about + text;
        json!({
            "apiVersion": "v1", "kind": "Event",
            // The same event has the same name, whenever it is told.
            "metadata": {"name": format!("{name}.{:x}", at.as_nanosecond()), "namespace": namespace},
            "involvedObject": {
                "apiVersion": API_VERSION, "kind": "Rollout", "name": name, "namespace": namespace,
                // By it `kubectl describe` finds them.
                "uid": object.pointer("/metadata/uid"),
            },
            "reason": camel(&what.to_string()),
            "message": beginning(&said, LONGEST_EVENT),
            "type": if is_bad { "Warning" } else { "Normal" },
            "source": {"component": "kdistro-rollout"},
            "firstTimestamp": when, "lastTimestamp": when, "count": 1,
        })
    }
}

fn spec(follows: &Follows) -> Value {
    let Follows { cluster, environment, channel } = follows;
    json!({"cluster": cluster, "environment": environment, "channel": channel})
}

/// What the object says; `current` is the one that is there.
fn status(standing: &Standing, (current, now): (&Value, Timestamp)) -> Value {
    let looked = standing.looks.last.last().map_or(now, |look| look.at);
    let mut status = json!({
        "observedGeneration": current.pointer("/metadata/generation"),
        "lookedAt": looked,
        "conditions": conditions(standing, (current, now)),
    });
    let held = standing.held.iter().rev().take(MOST_HELD).map(|held| {
        json!({"release": held.release, "since": held.since, "reason": beginning(&held.why, LONGEST)})
    });
    let under_way = standing.under_way.as_ref().map(|under_way| {
        let is_back = matches!(under_way.direction, Direction::Back(_));
        json!({
            "release": under_way.to.name, "manifest": under_way.to.digest,
            "direction": if is_back { "back" } else { "forward" },
            "done": under_way.done, "steps": under_way.steps.len(),
        })
    });
    let running = standing.running.as_ref().map(|running| {
        let mut said = json!({"release": running.name, "manifest": running.digest});
        put(&mut said, "since", standing.running_since.map(|since| json!(since)));
        said
    });
    let decision = standing.decided.as_ref();
    let decision = decision.map(|decided| json!(beginning(&decided.why, LONGEST)));
    put(&mut status, "decision", decision);
    put(&mut status, "running", running);
    put(&mut status, "underWay", under_way);
    put(&mut status, "held", Some(json!(held.collect::<Vec<_>>())));
    status
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}

/// Ready, Progressing and Degraded, each with the time when it became what it is.
fn conditions(standing: &Standing, (current, now): (&Value, Timestamp)) -> Vec<Value> {
    let alarm = standing.alarms.values().next();
    let failed = standing.held.iter().rev().find(|held| held.failed);
    let under_way = standing.under_way.as_ref();
    let ready = match (&standing.running, under_way, alarm) {
        (_, _, Some(alarm)) => (false, "Alarm", alarm.text.clone()),
        (_, Some(under_way), _) => {
            (false, "UnderWay", format!("{} is under way", under_way.to.name))
        }
        (Some(running), None, None) => (true, "Runs", format!("{} runs", running.name)),
        (None, None, None) => (false, "NothingRuns", "nothing was rolled out here yet".to_owned()),
    };
    let progressing = under_way.map_or((false, "Idle", "nothing is under way".to_owned()), |it| {
        (true, "UnderWay", format!("{} of {} steps are done", it.done, it.steps.len()))
    });
    let degraded = match (alarm, failed) {
        (Some(alarm), _) => (true, "Alarm", alarm.text.clone()),
        (None, Some(failed)) => {
            (true, "ReleaseFailed", format!("{} failed: {}", failed.release, failed.why))
        }
        (None, None) => (false, "Well", "no release failed here".to_owned()),
    };
    let all = [("Ready", ready), ("Progressing", progressing), ("Degraded", degraded)];
    let condition = |(kind, (holds, reason, message)): (&str, (bool, &str, String))| {
        let status = if holds { "True" } else { "False" };
        json!({
            "type": kind, "status": status, "reason": reason,
            "message": beginning(&message, LONGEST),
            "observedGeneration": current.pointer("/metadata/generation"),
            "lastTransitionTime": since(current, (kind, status)).unwrap_or(now),
        })
    };
    all.into_iter().map(condition).collect()
}

/// Since when a condition is what it is to be.
fn since(current: &Value, (kind, status): (&str, &str)) -> Option<Timestamp> {
    let conditions = current.pointer("/status/conditions")?.as_array()?;
    let is_it = |one: &&Value| {
        one.get("type").and_then(Value::as_str) == Some(kind)
            && one.get("status").and_then(Value::as_str) == Some(status)
    };
    time(conditions.iter().find(is_it)?.get("lastTransitionTime")?)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// The first characters of a text.
fn beginning(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// `rolled back` as `RolledBack`.
fn camel(words: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    words.split(' ').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Alarm, Held, Target};

    fn standing() -> Standing {
        let follows = Follows {
            cluster: "dev".to_owned(),
            environment: "aws".to_owned(),
            channel: "1-36".parse().unwrap(),
        };
        let name = "1-36-7".parse().unwrap();
        let running = Target { name, digest: kdistro_verify::hash::sha256(b"x") };
        Standing { follows: Some(follows), running: Some(running), ..Standing::default() }
    }

    fn said(standing: &Standing, current: &Value) -> Vec<(String, String)> {
        let now = Timestamp::from_second(100).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pairs = conditions(standing, (current, now));
        pairs.iter().map(|one| (text(&one["status"]), text(&one["reason"]))).collect()
    }

    #[test]
    fn conditions_say_how_things_stand() {
        let pairs = |all: [(&str, &str); 3]| {
            all.map(|(status, reason)| (status.to_owned(), reason.to_owned())).to_vec()
        };
        let well = [("True", "Runs"), ("False", "Idle"), ("False", "Well")];
        assert_eq!(said(&standing(), &Value::Null), pairs(well));
        let mut failed = standing();
        failed.held = vec![Held {
            release: "1-36-8".parse().unwrap(),
            since: Timestamp::UNIX_EPOCH,
            why: "x".to_owned(),
            failed: true,
        }];
        let degraded = [("True", "Runs"), ("False", "Idle"), ("True", "ReleaseFailed")];
        assert_eq!(said(&failed, &Value::Null), pairs(degraded));
        let alarm = Alarm { since: Timestamp::UNIX_EPOCH, text: "forged".to_owned() };
        failed.alarms.insert("channel".to_owned(), alarm);
        let alarmed = [("False", "Alarm"), ("False", "Idle"), ("True", "Alarm")];
        assert_eq!(said(&failed, &Value::Null), pairs(alarmed));
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let [then, now] = [50, 100].map(|second| Timestamp::from_second(second).unwrap());
        let before = conditions(&standing(), (&Value::Null, then));
        let current = json!({"status": {"conditions": before}});
        let mut alarmed = standing();
        alarmed.alarms.insert("x".to_owned(), Alarm { since: now, text: "x".to_owned() });
        let times = |standing: &Standing| {
            let all = conditions(standing, (&current, now));
            all.iter().map(|one| time(&one["lastTransitionTime"]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(times(&standing()), [then, then, then]);
        assert_eq!(times(&alarmed), [now, then, now]);
    }

    #[test]
    fn words_become_reasons() {
        assert_eq!([camel("rolled back"), camel("step")], ["RolledBack", "Step"]);
    }
}
