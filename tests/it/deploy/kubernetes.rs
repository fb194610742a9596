//! `deploy/kubernetes`: what a schema does not say of its manifests, each rule tried on one that breaks it.

mod broken;

use std::fs;
use std::process::Command;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

use super::path;

/// All manifests.
#[derive(Clone)]
struct Manifests {
    kustomization: Value,
    gpu: Value,
    workers: Value,
    deployments: Vec<Value>,
    nats: Value,
}

fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(path("deploy/kubernetes").join(name)).unwrap();
    parse(&text)
}

/// YAML as JSON has it.
fn parse(text: &str) -> Vec<Value> {
    fn value(yaml: &Yaml) -> Value {
        match yaml {
            Yaml::Value(Scalar::Null) => Value::Null,
            Yaml::Value(Scalar::Boolean(is)) => json!(is),
            Yaml::Value(Scalar::Integer(n)) if *n >= 0 => json!(n.unsigned_abs()),
            Yaml::Value(Scalar::Integer(n)) => json!(n),
            Yaml::Value(Scalar::FloatingPoint(x)) => json!(x.into_inner()),
            Yaml::Value(Scalar::String(text)) => json!(text),
            Yaml::Sequence(list) => list.iter().map(value).collect(),
            Yaml::Mapping(entries) => {
                let name = |yaml: &Yaml| value(yaml).as_str().unwrap().to_owned();
                let entries = entries.iter().map(|(key, of)| (name(key), value(of)));
                Value::Object(entries.collect())
            }
            other => panic!("no alias, tag or such: {other:?}"),
        }
    }
    let documents = Yaml::load_from_str(text).unwrap();
    documents.iter().map(value).collect()
}

fn document(name: &str) -> Value {
    let mut documents = documents(name);
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

fn manifests() -> Manifests {
    Manifests {
        kustomization: document("kustomization.yaml"),
        gpu: document("gpu/kustomization.yaml"),
        workers: document("workers.yaml"),
        deployments: documents("controller.yaml"),
        nats: document("nats-values.yaml"),
    }
}

/// What is wrong, in words.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, holds: bool, words: &str) {
        if !holds {
            self.0.push(words.to_owned());
        }
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

impl Manifests {
    fn check(&self) -> Vec<String> {
        let mut wrong = Wrong::default();
        self.job(&mut wrong);
        wrong.unless(self.deployments.len() == 2, "appliers and replicas");
        for deployment in &self.deployments {
            let spec = &deployment["spec"];
            wrong.unless(spec["replicas"] == 2, "two of each, where one may fail");
            let labels = &spec["template"]["metadata"]["labels"];
            wrong.unless(
                &spec["selector"]["matchLabels"] == labels,
                "it selects its own pods",
            );
            self.pod(&spec["template"]["spec"], &mut wrong);
        }
        self.files(&mut wrong);
        let jetstream = &self.nats["config"]["jetstream"];
        wrong.unless(
            jetstream["merge"]["sync_interval"] == "always",
            "the server syncs",
        );
        wrong.unless(
            jetstream["fileStore"]["pvc"]["enabled"] == true,
            "the server has a volume",
        );
        wrong.unless(
            self.nats["config"]["cluster"]["replicas"] == 3,
            "three servers for three copies",
        );
        let include = &self.nats["config"]["merge"]["zzz$include"];
        wrong.unless(
            include == "./accounts.conf",
            "the server knows the roles' rights",
        );
        wrong.0
    }

    fn job(&self, wrong: &mut Wrong) {
        let spec = &self.workers["spec"];
        wrong.unless(spec["completionMode"] == "Indexed", "workers are indexed");
        wrong.unless(
            spec["completions"] == spec["parallelism"],
            "all workers work at once",
        );
        wrong.unless(spec["backoffLimitPerIndex"].is_u64(), "a limit an index");
        wrong.unless(spec["backoffLimit"].is_null(), "no limit over all indexes");
        let pod = &spec["template"]["spec"];
        wrong.unless(
            pod["restartPolicy"] == "Never",
            "policies need restartPolicy Never",
        );
        let grace = pod["terminationGracePeriodSeconds"].as_u64();
        wrong.unless(
            grace.is_some_and(|grace| grace >= 120),
            "time to keep a checkpoint",
        );
        let on_code = |action: &str, codes: &[u8]| {
            json!({"action": action, "onExitCodes": {
                "containerName": pod["containers"][0]["name"], "operator": "In", "values": codes,
            }})
        };
        let disruption = json!({"action": "Ignore", "onPodConditions": [
            {"type": "DisruptionTarget", "status": "True"},
        ]});
        let rules = json!([
            disruption,
            on_code("Ignore", &[75]),
            on_code("FailJob", &[2, 3]),
            on_code("FailIndex", &[4]),
        ]);
        wrong.unless(
            spec["podFailurePolicy"]["rules"] == rules,
            "exit codes, in this order",
        );
        self.pod(pod, wrong);
        let node =
            json!({"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}});
        let env = list(&pod["containers"][0]["env"]);
        wrong.unless(env.contains(&node), "a child is lost on nodes, not on pods");
    }

    fn pod(&self, pod: &Value, wrong: &mut Wrong) {
        let context = &pod["securityContext"];
        wrong.unless(context["runAsNonRoot"] == true, "no root");
        wrong.unless(
            pod["automountServiceAccountToken"] == false,
            "no token of the cluster",
        );
        let containers = list(&pod["containers"]);
        wrong.unless(containers.len() == 1, "one container");
        let container = &containers[0];
        wrong.unless(
            container["command"].is_null(),
            "the image's entry point, no shell",
        );
        let own = &container["securityContext"];
        wrong.unless(
            own["allowPrivilegeEscalation"] == false,
            "no more rights than it has",
        );
        wrong.unless(
            own["readOnlyRootFilesystem"] == true,
            "nothing is written but to /scratch",
        );
        wrong.unless(
            !container["resources"]["limits"]["memory"].is_null(),
            "a limit of memory",
        );
        let mounts = list(&container["volumeMounts"]);
        let volumes = list(&pod["volumes"]);
        let volume = |at: &str| {
            let mount = mounts.iter().find(|mount| mount["mountPath"] == at)?;
            volumes
                .iter()
                .find(|volume| volume["name"] == mount["name"])
                .cloned()
        };
        let scratch = volume("/scratch").unwrap_or_default();
        wrong.unless(scratch["emptyDir"].is_object(), "/scratch is there");
        let role = match container["args"][1].as_str() {
            Some("apply") => "applier",
            Some(role) => role,
            None => "",
        };
        let secret = volume("/key").unwrap_or_default()["secret"].clone();
        let (key, file) = (format!("key-{role}"), format!("key=keys/{role}.nk"));
        wrong.unless(secret["secretName"] == *key, "the role's own key");
        wrong.unless(secret["defaultMode"] == 0o440, "nobody else reads the key");
        let generated = list(&self.kustomization["secretGenerator"]);
        let made = generated.iter().find(|secret| secret["name"] == *key);
        let files = made
            .map(|secret| secret["files"].clone())
            .unwrap_or_default();
        wrong.unless(
            files == json!([file]),
            "the secret is made of the role's key",
        );
        let variable = |name: &str, value: &str| {
            let variable = json!({"name": name, "value": value});
            list(&container["env"]).contains(&variable)
        };
        wrong.unless(
            variable("NAS_ENGINE_CREDENTIALS", "/key/key"),
            "the key is given",
        );
        wrong.unless(variable("TMPDIR", "/scratch"), "children have a folder");
        let from = json!([{"configMapRef": {"name": "run"}}]);
        wrong.unless(container["envFrom"] == from, "run and server are given");
        let literals = list(&self.kustomization["configMapGenerator"][0]["literals"]);
        for name in ["RUN=", "NAS_ENGINE_SERVER=nats://"] {
            let is_set = literals
                .iter()
                .any(|line| line.as_str().is_some_and(|line| line.starts_with(name)));
            wrong.unless(is_set, "run and server are said");
        }
        wrong.unless(
            is_understood(&list(&container["args"])),
            "flags that the program has",
        );
    }

    fn files(&self, wrong: &mut Wrong) {
        for resource in list(&self.kustomization["resources"]) {
            let file = path("deploy/kubernetes").join(resource.as_str().unwrap_or_default());
            wrong.unless(file.is_file(), "resources are there");
        }
        for name in ["workers.yaml", "controller.yaml"] {
            let resources = list(&self.kustomization["resources"]);
            wrong.unless(resources.contains(&name.into()), "nothing is left out");
        }
        let image = &self.workers["spec"]["template"]["spec"]["containers"][0]["image"];
        wrong.unless(
            self.kustomization["images"][0]["name"] == *image,
            "the image has its name",
        );
        let version = env!("CARGO_PKG_VERSION");
        wrong.unless(
            self.kustomization["images"][0]["newTag"] == version,
            "one version everywhere",
        );
        let patch = &self.gpu["patches"][0];
        let target = json!({"kind": "Job", "name": self.workers["metadata"]["name"]});
        wrong.unless(patch["target"] == target, "the patch is of workers");
        let patch = list(&parse(patch["patch"].as_str().unwrap_or("[]"))[0]);
        let gpu = json!({
            "op": "add", "value": 1,
            "path": "/spec/template/spec/containers/0/resources/limits/nvidia.com~1gpu",
        });
        wrong.unless(patch.contains(&gpu), "a GPU for each worker");
    }
}

/// Whether the program takes the arguments: it then finds no server, which is exit 1.
fn is_understood(arguments: &[Value]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let arguments = arguments
        .iter()
        .map(|word| word.as_str().unwrap_or_default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_nas-engine"));
    command.args(arguments.map(|word| word.replace("$(RUN)", "night").replace("$(NODE)", "one")));
    command.env("NAS_ENGINE_SERVER", "nats://127.0.0.1:1");
    command
        .env_remove("NAS_ENGINE_CREDENTIALS")
        .env("TMPDIR", folder.path());
    command.output().unwrap().status.code() == Some(1)
}

#[test]
fn manifests_keep_the_rules() {
    assert_eq!(manifests().check(), Vec::<String>::new());
}
