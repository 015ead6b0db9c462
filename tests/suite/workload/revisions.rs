//! Revisions in the store.

use super::*;

#[test]
fn a_stored_revision_is_read_back_whole() {
    let (template, owner) = (template(), owner());
    let print = fingerprint(&template);
    let object = store::revision(&owner, "test", "podinfo", &print, &template, 4);
    let digits = &print.0["v1:".len()..][..10];
    assert_eq!(object["metadata"]["name"], format!("podinfo-{digits}"));
    assert_eq!(object["metadata"]["labels"], json!({"serin.dev/canary": "podinfo"}));
    assert_eq!(object["revision"], 4);
    let read = store::read(&object).unwrap();
    assert_eq!((read.fingerprint, read.template, read.intact), (print, template, true));
}

#[test]
fn a_revision_that_was_changed_is_not_intact_and_a_foreign_object_is_none() {
    let template = template();
    let mut object = store::revision(&owner(), "test", "podinfo", &fingerprint(&template), &template, 4);
    object["data"]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil".into();
    assert!(!store::read(&object).unwrap().intact);
    assert_eq!(
        store::read(&json!({"kind": "ControllerRevision", "data": {"spec": {"template": {}}}})),
        None
    );
}

#[test]
fn long_names_are_cut_to_what_kubernetes_takes() {
    let print = fingerprint(&template());
    assert!(store::name(&"t".repeat(253), &print).len() <= 253);
    let long = "c".repeat(100);
    assert!(store::label(&long).len() <= 63);
    assert_ne!(store::label(&long), store::label(&"c".repeat(101)));
}
