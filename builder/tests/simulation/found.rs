//! Schedules that once broke an invariant, each over many orders of turns.

use kdistro_formats::layout;

use crate::{
    operator::{Act, Operator},
    plot::{Play, Plot, beginnings},
    process::{Process, State},
    release::{Site, name},
    schedule::{Numbers, Script},
};

/// Plays one stage without faults, in forty orders of turns; returns how often all and how often not all were served.
fn at_once(site: &Site, before: &State, first: &[(Act, Script)], stage: [Act; 2]) -> [u32; 2] {
    let mut served = [0, 0];
    for seed in 0..40 {
        let mut play = Play::new(site, before.clone(), Numbers::new(seed));
        for (act, script) in first {
            play.attempt(&[*act], vec![script.clone()]).unwrap();
        }
        let both = play.attempt(&stage, vec![Script::default(); 2]);
        served[usize::from(!both.unwrap())] += 1;
        let acts = first.iter().map(|(act, _)| *act).chain(stage);
        let plot = Plot { has_release: false, stages: vec![acts.collect()] };
        play.finish(&plot, true).unwrap();
        play.is_all_announced().unwrap();
        play.verify().unwrap();
    }
    served
}

fn killed_after(step: u32) -> Script {
    Script { killed: Some((step, true)), ..Script::default() }
}

/// The index listed the number that the second promotion passed over as released and as withheld, and could not be
/// read any more.
#[test]
fn a_number_that_is_promoted_while_another_passes_over_it_is_listed_once() {
    let site = Site::new();
    let [empty, _] = beginnings(&site);
    let [both, one] = at_once(&site, &empty, &[], [Act::Promote(1), Act::Promote(2)]);
    assert!(both > 0 && one > 0, "{both} {one}");
}

/// Likewise.
#[test]
fn a_number_that_is_given_up_while_it_is_finished_is_listed_once() {
    let site = Site::new();
    let [empty, _] = beginnings(&site);
    let begun = [(Act::Cut(0), killed_after(60))];
    let [both, one] = at_once(&site, &empty, &begun, [Act::Cut(0), Act::Abandon(1)]);
    assert!(both + one == 40 && one > 0, "{both} {one}");
}

/// Whoever is killed at the gate, the verdict that was written first is the one that counts, also when the next run would
/// come to another one; and nothing is offered before there is one.
#[test]
fn a_verdict_of_the_gate_stands_whoever_is_killed() {
    use kdistro_formats::statement::TestVerdict::{Failed, Passed};
    let site = Site::new();
    let mut ended = [0, 0];
    for (first, then) in [(Failed, Passed), (Passed, Failed)] {
        for kill in 0..200 {
            let play = Play::new(&site, State::default(), Numbers::new(0));
            let process =
                Process::new((&play.scene, &play.machines[0]), 0, killed_after(kill), None);
            let _ = Operator::new(&process).cut_through_gate(0, first);
            process.end();
            let is_known =
                play.scene.look().world.files.contains_key(&layout::test_result(&name(1)));
            let is_offered = |state: &State| {
                let index = state.seen.index.as_ref();
                index.is_some_and(|index| index.status.latest_release == 1)
            };
            assert!(is_known || !is_offered(&play.scene.look()), "{kill}: offered untried");
            let again = Process::new((&play.scene, &play.machines[1]), 1, Script::default(), None);
            Operator::new(&again).cut_through_gate(0, then).unwrap();
            let state = play.scene.look();
            assert!(state.broken.is_none(), "{kill}: {:?}", state.broken);
            let verdict = if is_known { first } else { then };
            assert_eq!(is_offered(&state), verdict == Passed, "{kill}: {verdict}");
            assert_eq!(state.seen.released.contains_key(&1), verdict == Passed, "{kill}");
            ended[usize::from(is_known)] += 1;
        }
    }
    assert!(ended[0] > 0 && ended[1] > 0, "{ended:?}");
}

/// Two who signed the same index at the same moment: the second failed, since no two signatures are alike.
#[test]
fn two_who_sign_the_same_index_both_go_on() {
    let site = Site::new();
    let [_, released] = beginnings(&site);
    let [both, one] = at_once(&site, &released, &[], [Act::Yank(1, 0), Act::Yank(1, 0)]);
    assert_eq!((both, one), (40, 0));
}

/// A run was killed after the index and before it announced, while another had looked for such a one already: the other
/// announced its own release only, and so did everybody later.
#[test]
fn who_publishes_next_announces_what_a_killed_run_did_not() {
    let site = Site::new();
    let mut tried = 0;
    for kill in 100..175 {
        let play = Play::new(&site, State::default(), Numbers::new(0));
        let second = Process::new((&play.scene, &play.machines[1]), 1, Script::default(), None);
        let operator = Operator::new(&second);
        operator.announce().unwrap();
        let first = Process::new((&play.scene, &play.machines[0]), 0, killed_after(kill), None);
        let _ = Operator::new(&first).run(Act::Cut(0));
        let is_between = {
            let state = play.scene.look();
            state.seen.index.is_some() && state.seen.released.is_empty()
        };
        if !first.end().1 || !is_between {
            continue;
        }
        tried += 1;
        let claim = operator.claim(1).unwrap();
        operator.release(&site.make(claim), &[]).unwrap();
        operator.announce().unwrap();
        play.is_all_announced().unwrap();
    }
    assert!(tried > 0);
}
