//! Judges of the documents in YAML: `PyYAML` and `yq`.

use std::fs;

use serde_json::Value;

use crate::{
    run::{must, run},
    shared::{MANIFEST, scratch, shared},
    tools,
};

#[test]
fn pyyaml_and_yq_read_the_same_values_in_the_documents() {
    for name in [MANIFEST, "releasechannels/1-20.yaml"] {
        let document = shared().store().join(name);
        let mut values = tools::python("python");
        let values = must(values.arg(tools::judges().join("values.py")).arg(&document));
        let pyyaml: Value = serde_json::from_str(&values).unwrap();
        if name == MANIFEST {
            let release = kdistro_formats::release::Release::from_yaml(
                &fs::read_to_string(&document).unwrap(),
            );
            assert_eq!(serde_json::to_value(release.unwrap()).unwrap(), pyyaml);
        }
        // Debian's yq wraps jq and prints JSON; the one written in Go has to be asked for it.
        let mut answer = run(tools::judge("yq").arg(".").arg(&document));
        if serde_json::from_str::<Value>(&answer.out).is_err() {
            answer = run(tools::judge("yq").args(["-o=json", "."]).arg(&document));
        }
        let yq: Value = serde_json::from_str(&answer.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", answer.out, answer.err));
        assert_eq!(yq, pyyaml);
    }
}

#[test]
fn pyyaml_refuses_what_is_no_plain_value() {
    let folder = scratch("values");
    let document = folder.path().join("document.yaml");
    let mut values = tools::python("python");
    values.arg(tools::judges().join("values.py")).arg(&document);
    for (text, code) in [("name: 1-20\n", 0), ("name: [1-20\n", 1), ("name: !!python/name:os\n", 1)]
    {
        fs::write(&document, text).unwrap();
        run(&mut values).expect(code);
    }
}
