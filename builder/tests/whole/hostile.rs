//! Steps that try what they may not: refused by the container, and named with the reason.

use crate::tiny::Tiny;

#[test]
fn a_step_that_misbehaves_is_named_with_its_reason_and_nothing_is_published() {
    let tiny = Tiny::unbuilt();
    for (mode, reasons) in [
        ("network", &["exited with code 7", "refused: "][..]),
        ("source", &["exited with code 7", "refused: open /src/main.go: read-only file system"]),
        ("link", &["/out", "made"]),
        ("extra", &["left `extra`, which is not one of its outputs"]),
        ("nothing", &["did not leave `made`"]),
    ] {
        tiny.generate_by(mode);
        let ran = tiny.cut().expect(2);
        ran.says(&["step `tiny/hello attempt`"]).says(reasons);
        assert!(!tiny.store().join("kubernetes-9-1").exists(), "{mode}");
    }
}
