//! Whether the kernel's packet filter does what kube-proxy and the CNI plugins ask of it.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use super::{Feature, Missing, said};
use crate::host;

/// A rule, the table that it belongs to, and what it is needed for.
#[derive(Clone, Copy)]
struct Rule {
    table: &'static str,
    text: &'static str,
    feature: Feature,
}

/// A rule of ours in a chain of our own, unless it names one of the kernel's.
const fn rule(
    table: &'static str,
    rule: &'static str,
    name: &'static str,
    needed_for: &'static str,
    help: &'static str,
) -> Rule {
    Rule { table, text: rule, feature: Feature { name, needed_for, help, required: true } }
}

const fn optional(rule: Rule) -> Rule {
    Rule { feature: Feature { required: false, ..rule.feature }, ..rule }
}

/// Source: Kubernetes, `pkg/proxy/iptables/proxier.go`; CNI plugins, `pkg/ip/ipmasq_linux.go` and `plugins/meta/portmap`.
const RULES: [Rule; 14] = [
    rule(
        "mangle",
        "PREROUTING -j RETURN",
        "iptables' table mangle",
        "the kubelet, which watches it",
        "`modprobe iptable_mangle`, or nft_compat for an iptables of nf_tables",
    ),
    rule(
        "nat",
        "PREROUTING -j RETURN",
        "iptables' table nat",
        "Services",
        "`modprobe iptable_nat`, or nft_compat and nft_chain_nat for an iptables of nf_tables",
    ),
    rule(
        "filter",
        "FORWARD -j RETURN",
        "iptables' table filter",
        "Services",
        "`modprobe iptable_filter`, or nft_compat for an iptables of nf_tables",
    ),
    rule(
        "nat",
        "KDISTRO -m comment --comment kdistro -j RETURN",
        "iptables' comment",
        "every rule of kube-proxy",
        "`modprobe xt_comment`",
    ),
    rule(
        "nat",
        "KDISTRO -m addrtype --dst-type LOCAL -j RETURN",
        "iptables' addrtype",
        "ports of the node",
        "`modprobe xt_addrtype`",
    ),
    rule(
        "nat",
        "KDISTRO -j MARK --set-xmark 0x4000/0x4000",
        "iptables' MARK",
        "Services",
        "`modprobe xt_mark`",
    ),
    rule(
        "nat",
        "KDISTRO -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "iptables' mark",
        "Services",
        "`modprobe xt_mark`",
    ),
    rule(
        "nat",
        "KDISTRO -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:80",
        "iptables' DNAT",
        "Services",
        "`modprobe xt_nat`",
    ),
    rule(
        "nat",
        "POSTROUTING -j MASQUERADE",
        "iptables' MASQUERADE",
        "the way out of pods",
        "`modprobe xt_MASQUERADE`",
    ),
    rule(
        "nat",
        "KDISTRO -m statistic --mode random --probability 0.5 -j RETURN",
        "iptables' statistic",
        "Services of several pods",
        "`modprobe xt_statistic`",
    ),
    rule(
        "filter",
        "FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "iptables' conntrack",
        "Services",
        "`modprobe xt_conntrack`",
    ),
    rule(
        "filter",
        "KDISTRO -p tcp -m tcp --dport 80 -j REJECT",
        "iptables' REJECT",
        "Services without pods",
        "`modprobe ipt_REJECT`",
    ),
    optional(rule(
        "nat",
        "KDISTRO -p tcp -m multiport --destination-ports 80,81 -j RETURN",
        "iptables' multiport",
        "pods with ports of the node",
        "`modprobe xt_multiport`",
    )),
    optional(rule(
        "nat",
        "KDISTRO -m recent --name kdistro --rcheck --seconds 10 --reap -j RETURN",
        "iptables' recent",
        "Services with session affinity",
        "`modprobe xt_recent`",
    )),
];

const IPTABLES: Feature = Feature {
    name: "iptables",
    needed_for: "kube-proxy and the networks of pods",
    help: "install it (Debian: `apt-get install iptables`)",
    required: true,
};

/// What is missing: all rules are tried at once, and each alone only where that fails.
pub(super) fn missing() -> Vec<Missing> {
    // Both are called: kube-proxy's way, and the plugins'.
    for program in ["iptables", "iptables-save", "iptables-restore"] {
        if host::find(program).is_none() {
            return vec![IPTABLES.missing(&format!("there is no program {program}"))];
        }
    }
    if restore(&RULES.iter().collect::<Vec<_>>()).is_ok() {
        return Vec::new();
    }
    let tried = RULES.iter().map(|rule| (rule, restore(&[rule])));
    tried.filter_map(|(rule, it)| it.err().map(|why| rule.feature.missing(&why))).collect()
}

/// Puts rules into this network.
fn restore(rules: &[&Rule]) -> Result<(), String> {
    let program = host::find("iptables-restore").unwrap_or_default();
    filter(&program, &text(rules)).map_err(|error| said("iptables-restore", &error))?
}

/// Writes rules as `iptables-save` does.
fn text(rules: &[&Rule]) -> String {
    // Writing into memory cannot fail.
    let mut text = String::new();
    for table in ["mangle", "nat", "filter"] {
        let of_table: Vec<_> = rules.iter().filter(|rule| rule.table == table).collect();
        if of_table.is_empty() {
            continue;
        }
        let _ = writeln!(text, "*{table}\n:KDISTRO - [0:0]");
        for rule in of_table {
            let _ = writeln!(text, "-A {}", rule.text);
        }
        text += "COMMIT\n";
    }
    text
}

fn filter(program: &Path, text: &str) -> io::Result<Result<(), String>> {
    let mut restore = host::command(program);
    restore.arg("--noflush").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = restore.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // What follows says how to ask for help.
    let said = said.lines().next().unwrap_or("it says nothing").to_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_by_table_each_with_a_chain_of_ours() {
        let [mangle, .., recent] = &RULES;
        assert_eq!(
            text(&[recent, mangle]),
            "*mangle\n:KDISTRO - [0:0]\n-A PREROUTING -j RETURN\nCOMMIT\n\
             *nat\n:KDISTRO - [0:0]\n-A KDISTRO -m recent --name kdistro --rcheck --seconds 10 --reap -j RETURN\nCOMMIT\n"
        );
    }
}
