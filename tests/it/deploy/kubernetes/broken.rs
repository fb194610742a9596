//! Manifests that break a rule each: all are found.

use serde_json::{Value, json};

use super::{Manifests, manifests};

/// One of the manifests.
type Part = fn(&mut Manifests) -> &mut Value;

#[test]
fn a_broken_rule_is_found() {
    const POD: &str = "/spec/template/spec";
    let at = |pointer: &str| format!("{POD}{pointer}");
    let container = |pointer: &str| at(&format!("/containers/0{pointer}"));
    let rules = "/spec/podFailurePolicy/rules";
    // Of the workers: where, what stands there instead, and what is said.
    let broken: Vec<(String, Value, &str)> = vec![
        (
            "/spec/completionMode".into(),
            json!("NonIndexed"),
            "indexed",
        ),
        ("/spec/parallelism".into(), json!(3), "all workers"),
        (
            "/spec/backoffLimitPerIndex".into(),
            Value::Null,
            "a limit an index",
        ),
        ("/spec/backoffLimit".into(), json!(6), "no limit over all"),
        (at("/restartPolicy"), json!("OnFailure"), "restartPolicy"),
        (
            at("/terminationGracePeriodSeconds"),
            json!(30),
            "checkpoint",
        ),
        (format!("{rules}/0/action"), json!("Count"), "in this order"),
        (
            format!("{rules}/1/onExitCodes/values"),
            json!([74]),
            "in this order",
        ),
        (
            format!("{rules}/2/onExitCodes/values"),
            json!([2, 3, 75]),
            "in this order",
        ),
        (
            format!("{rules}/3/onExitCodes/containerName"),
            json!("w"),
            "in this order",
        ),
        (at("/securityContext/runAsNonRoot"), json!(false), "no root"),
        (at("/automountServiceAccountToken"), Value::Null, "no token"),
        (container("/command"), json!(["sh"]), "no shell"),
        (
            container("/securityContext/allowPrivilegeEscalation"),
            json!(true),
            "no more rights",
        ),
        (
            container("/securityContext/readOnlyRootFilesystem"),
            json!(false),
            "/scratch",
        ),
        (
            container("/resources/limits/memory"),
            Value::Null,
            "a limit of memory",
        ),
        (
            container("/volumeMounts/1/mountPath"),
            json!("/tmp"),
            "/scratch is there",
        ),
        (
            at("/volumes/0/secret/secretName"),
            json!("key-admin"),
            "the role's own key",
        ),
        (
            at("/volumes/0/secret/defaultMode"),
            json!(0o444),
            "nobody else reads",
        ),
        (container("/env/0/value"), json!("/key"), "the key is given"),
        (
            container("/env/1/name"),
            json!("TMP"),
            "children have a folder",
        ),
        (
            container("/env/2/valueFrom/fieldRef/fieldPath"),
            json!("metadata.name"),
            "on nodes",
        ),
        (
            container("/envFrom/0/configMapRef/name"),
            json!("runs"),
            "run and server are given",
        ),
        (
            container("/args/3"),
            json!("--date"),
            "flags that the program has",
        ),
        (container("/image"), json!("nas"), "the image has its name"),
        (
            "/metadata/name".into(),
            json!("others"),
            "the patch is of workers",
        ),
    ];
    let found = |manifests: &Manifests, words: &str, change: &str| {
        let wrong = manifests.check();
        assert!(
            wrong.iter().any(|line| line.contains(words)),
            "{change}: {wrong:?}"
        );
    };
    for (pointer, value, words) in broken {
        let mut manifests = manifests();
        put(&mut manifests.workers, &pointer, value);
        found(&manifests, words, &pointer);
    }
    let mut swapped = manifests();
    let rules = swapped
        .workers
        .pointer_mut(rules)
        .unwrap()
        .as_array_mut()
        .unwrap();
    rules.swap(0, 3);
    found(&swapped, "in this order", "rules");
    let others: [(Part, &str, Value, &str); 11] = [
        (
            |all| &mut all.deployments[0],
            "/spec/replicas",
            json!(1),
            "two of each",
        ),
        (
            |all| &mut all.deployments[1],
            "/spec/selector/matchLabels/role",
            json!("a"),
            "its own pods",
        ),
        (
            |all| &mut all.deployments[1],
            "/spec/template/spec/volumes/0/secret/secretName",
            json!("key-applier"),
            "own key",
        ),
        (
            |all| &mut all.kustomization,
            "/secretGenerator/1/files/0",
            json!("key=keys/admin.nk"),
            "the role's key",
        ),
        (
            |all| &mut all.kustomization,
            "/configMapGenerator/0/literals/0",
            json!("NAME=a"),
            "are said",
        ),
        (
            |all| &mut all.kustomization,
            "/resources/1",
            json!("worker.yaml"),
            "resources are there",
        ),
        (
            |all| &mut all.kustomization,
            "/images/0/newTag",
            json!("latest"),
            "one version",
        ),
        (
            |all| &mut all.gpu,
            "/patches/0/patch",
            json!("[]"),
            "a GPU for each",
        ),
        (
            |all| &mut all.nats,
            "/config/jetstream/merge/sync_interval",
            json!("2m"),
            "syncs",
        ),
        (
            |all| &mut all.nats,
            "/config/jetstream/fileStore/pvc/enabled",
            json!(false),
            "a volume",
        ),
        (
            |all| &mut all.nats,
            "/config/merge",
            json!({}),
            "roles' rights",
        ),
    ];
    for (of, pointer, value, words) in others {
        let mut manifests = manifests();
        put(of(&mut manifests), pointer, value);
        found(&manifests, words, pointer);
    }
}

/// Puts a value in the place of another, or beside it where there is none.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let (above, name) = pointer.rsplit_once('/').unwrap();
    let above = document
        .pointer_mut(above)
        .unwrap_or_else(|| panic!("{pointer} is not there"));
    match above {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        above => above[name] = value,
    }
}
