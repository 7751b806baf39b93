//! The bill of materials, in CycloneDX 1.5 JSON. The components of the program come from the
//! `Cargo.lock` it was built from, which is embedded in it; the models come from the bundle.
//!
//! `Cargo.lock` covers all platforms and features, so the bill lists crates that a single build
//! leaves out, but never omits one. Dependencies of the tests are left out. The lock file has no
//! licences; in a bundle with sources, each crate's `Cargo.toml` has its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CStr,
};

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    index::{Kind, Member, ModelEntry},
    spdx,
};

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Package {
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    /// Whether a `dependencies` entry of the lock (`name`, `name version`, `name version (source)`)
    /// means this package.
    fn is_meant_by(&self, dependency: &str) -> bool {
        let mut words = dependency.split(' ');
        words.next() == Some(&self.name)
            && words.next().is_none_or(|version| version == self.version)
            && words.next().is_none_or(|source| {
                let source = source.trim_matches(['(', ')']);
                self.source.as_deref() == Some(source)
            })
    }
}

/// The bill of the program with the `members` and `models` of a bundle, if any. The same contents
/// give the same bytes.
pub(super) fn write(members: &[Member], models: &[ModelEntry]) -> String {
    pretty(&cyclonedx(members, models))
}

/// The bill of this program alone.
pub(crate) fn bill() -> String {
    write(&[], &[])
}

/// The same in SPDX 2.3.
pub(crate) fn spdx_bill() -> String {
    pretty(&spdx::document(&cyclonedx(&[], &[])))
}

fn pretty(bill: &Value) -> String {
    let mut text = serde_json::to_string_pretty(bill).expect("a value is JSON");
    text.push('\n');
    text
}

fn cyclonedx(members: &[Member], models: &[ModelEntry]) -> Value {
    let packages = shipped();
    let root = packages.first().expect("the lock file lists the program itself");
    let program = members.iter().find(|member| member.kind == Kind::Program);
    let mut application = json!({
        "type": "application",
        "bom-ref": root.purl(),
        "name": root.name,
        "version": root.version,
        "licenses": [licence(env!("CARGO_PKG_LICENSE"))],
        "purl": root.purl(),
    });
    if let Some(program) = program {
        application["hashes"] = hashes(&program.sha256);
    }
    let mut components: Vec<Value> = packages[1..].iter().map(component).collect();
    components.push(llama_cpp(&packages));
    components.extend(models.iter().map(|model| model_component(model, members)));
    let mut dependencies: Vec<Value> = packages
        .iter()
        .map(|package| {
            let meant = packages.iter().filter(|other| {
                package.dependencies.iter().any(|dependency| other.is_meant_by(dependency))
            });
            let mut on: BTreeSet<String> = meant.map(Package::purl).collect();
            if package.name == "llama-cpp-sys-2" {
                on.insert(LLAMA_CPP.to_owned());
            }
            json!({"ref": package.purl(), "dependsOn": on})
        })
        .collect();
    dependencies.push(json!({"ref": LLAMA_CPP, "dependsOn": []}));
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "promptmix", "version": env!("CARGO_PKG_VERSION")}]},
            "component": application,
        },
        "components": components,
        "dependencies": dependencies,
    });
    bill["serialNumber"] = serial_number(&bill.to_string()).into();
    bill
}

const LLAMA_CPP: &str = "llama.cpp";

/// The program, then the packages it is built from, according to the lock file.
fn shipped() -> Vec<Package> {
    let lock: Lock = toml::from_str(include_str!("../../Cargo.lock"))
        .expect("the lock file is part of the program and a test parses it");
    let mut packages = lock.package;
    let test_only = test_only();
    let own =
        |package: &Package| package.name == env!("CARGO_PKG_NAME") && package.source.is_none();
    for package in packages.iter_mut().filter(|package| own(package)) {
        package
            .dependencies
            .retain(|dependency| !test_only.contains(dependency.split(' ').next().unwrap_or("")));
    }
    let start: Vec<usize> = (0..packages.len()).filter(|number| own(&packages[*number])).collect();
    let mut reached: BTreeSet<usize> = start.iter().copied().collect();
    let mut waiting = start;
    while let Some(number) = waiting.pop() {
        for dependency in &packages[number].dependencies {
            for (other, package) in packages.iter().enumerate() {
                if package.is_meant_by(dependency) && reached.insert(other) {
                    waiting.push(other);
                }
            }
        }
    }
    let mut number = 0;
    packages.retain(|_| {
        number += 1;
        reached.contains(&(number - 1))
    });
    packages.sort_by_key(|package| !own(package));
    packages
}

/// The dependencies that only the tests have.
fn test_only() -> BTreeSet<String> {
    let manifest: toml::Table = toml::from_str(include_str!("../../Cargo.toml"))
        .expect("the manifest is part of the program and a test parses it");
    let mut test: BTreeSet<String> = BTreeSet::new();
    let mut shipped: BTreeSet<String> = BTreeSet::new();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(toml::Table::values);
    for table in std::iter::once(&manifest).chain(targets.filter_map(toml::Value::as_table)) {
        let names = |key: &str| {
            let table = table.get(key).and_then(toml::Value::as_table);
            table.into_iter().flat_map(toml::Table::keys).cloned()
        };
        test.extend(names("dev-dependencies"));
        shipped.extend(names("dependencies").chain(names("build-dependencies")));
    }
    test.difference(&shipped).cloned().collect()
}

fn component(package: &Package) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": package.purl(),
        "name": package.name,
        "version": package.version,
        "purl": package.purl(),
    });
    if let Some(checksum) = &package.checksum {
        component["hashes"] = hashes(checksum);
    }
    component
}

/// The C++ library inside `llama-cpp-sys-2`. That crate does not state its commit of llama.cpp; the
/// library itself reports only the version of its core, ggml.
fn llama_cpp(packages: &[Package]) -> Value {
    let carrier = packages.iter().find(|package| package.name == "llama-cpp-sys-2");
    // SAFETY: the function takes nothing and returns a pointer to a constant string with a NUL.
    let ggml = unsafe { CStr::from_ptr(llama_cpp_sys_2::ggml_version()) }.to_string_lossy();
    json!({
        "type": "library",
        "bom-ref": LLAMA_CPP,
        "name": "llama.cpp",
        "version": format!("ggml {ggml}"),
        "description": format!(
            "as bundled in {}",
            carrier.map_or_else(|| "llama-cpp-sys-2".to_owned(), Package::purl)
        ),
        "licenses": [licence("MIT")],
    })
}

fn model_component(model: &ModelEntry, members: &[Member]) -> Value {
    let reference = format!("model:{}/{}", model.role, model.name);
    let sha256: BTreeMap<&str, &str> =
        members.iter().map(|member| (member.path.as_str(), member.sha256.as_str())).collect();
    let files: Vec<Value> = model
        .files
        .iter()
        .map(|(name, path)| {
            let mut file =
                json!({"type": "file", "bom-ref": format!("{reference}/{name}"), "name": path});
            if let Some(sha256) = sha256.get(path.as_str()) {
                file["hashes"] = hashes(sha256);
            }
            file
        })
        .collect();
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": model.name,
        "description": format!("{} of promptmix", model.role),
    });
    if !model.licence.is_empty() {
        component["licenses"] = json!([licence(&model.licence)]);
    }
    if let [(_, path)] = model.files.as_slice()
        && let Some(sha256) = sha256.get(path.as_str())
    {
        component["hashes"] = hashes(sha256);
    }
    component["components"] = files.into();
    component
}

fn hashes(sha256: &str) -> Value {
    json!([{"alg": "SHA-256", "content": sha256}])
}

/// CycloneDX accepts only identifiers of the SPDX list as `id`; any other text goes into `name`.
fn licence(text: &str) -> Value {
    const IDENTIFIERS: [&str; 4] = ["Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0"];
    if IDENTIFIERS.contains(&text) {
        json!({"license": {"id": text}})
    } else {
        json!({"license": {"name": text}})
    }
}

/// A UUID (version 8, custom) made from the content of the bill.
fn serial_number(text: &str) -> String {
    let digest = Sha256::digest(text);
    let mut bytes: [u8; 16] = digest[..16].try_into().expect("sixteen bytes");
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn purls(bill: &Value) -> BTreeSet<String> {
        let components = bill["components"].as_array().unwrap();
        let purls = components.iter().filter_map(|component| component["purl"].as_str());
        purls.map(str::to_owned).collect()
    }

    /// The string under `key`.
    fn text<'a>(value: &'a Value, key: &str) -> &'a str {
        value[key].as_str().unwrap()
    }

    #[test]
    fn every_crate_that_cargo_builds_is_listed() {
        let bill: Value = serde_json::from_str(&bill()).unwrap();
        let listed = purls(&bill);
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "-e", "no-dev", "--prefix", "none"])
            .args(["--format", "{p}"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut compared = 0;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("promptmix "))
        {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            let purl = format!("pkg:cargo/{name}@{}", version.trim_start_matches('v'));
            assert!(listed.contains(&purl), "{purl} is missing");
            compared += 1;
        }
        assert!(compared > 100);
    }

    #[test]
    fn dependencies_of_the_tests_are_left_out() {
        let bill: Value = serde_json::from_str(&bill()).unwrap();
        let root = bill["metadata"]["component"]["bom-ref"].clone();
        let edges = bill["dependencies"].as_array().unwrap();
        let own = edges.iter().find(|edge| edge["ref"] == root).unwrap();
        let own: Vec<&str> =
            own["dependsOn"].as_array().unwrap().iter().map(|on| on.as_str().unwrap()).collect();
        assert!(own.iter().any(|purl| purl.starts_with("pkg:cargo/zstd@")), "{own:?}");
        assert!(!own.iter().any(|purl| purl.starts_with("pkg:cargo/tempfile@")), "{own:?}");
    }

    #[test]
    fn each_dependency_is_a_component_and_each_crate_has_a_hash() {
        let bill: Value = serde_json::from_str(&bill()).unwrap();
        let components = bill["components"].as_array().unwrap();
        let mut known: BTreeSet<&str> =
            components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
        assert_eq!(known.len(), components.len(), "a reference occurs twice");
        known.insert(bill["metadata"]["component"]["bom-ref"].as_str().unwrap());
        for edge in bill["dependencies"].as_array().unwrap() {
            assert!(known.contains(edge["ref"].as_str().unwrap()));
            for on in edge["dependsOn"].as_array().unwrap() {
                assert!(known.contains(on.as_str().unwrap()), "{on}");
            }
        }
        for component in components.iter().filter(|component| component.get("purl").is_some()) {
            assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64);
        }
    }

    #[test]
    fn the_spdx_bill_has_what_the_cyclonedx_bill_has() {
        let bill: Value = serde_json::from_str(&bill()).unwrap();
        let spdx: Value = serde_json::from_str(&spdx_bill()).unwrap();
        assert_eq!(spdx_bill(), spdx_bill());
        let list = |key: &str| spdx[key].as_array().unwrap().clone();
        let packages = list("packages");
        assert_eq!(packages.len(), bill["components"].as_array().unwrap().len() + 1);
        let ids: BTreeSet<&str> =
            packages.iter().map(|it| it["SPDXID"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), packages.len());
        let edges = bill["dependencies"].as_array().unwrap();
        let edges: usize = edges.iter().map(|it| it["dependsOn"].as_array().unwrap().len()).sum();
        let relationships = list("relationships");
        assert_eq!(relationships.len(), edges + 1);
        for relationship in &relationships {
            let from = text(relationship, "spdxElementId");
            assert!(from == "SPDXRef-DOCUMENT" || ids.contains(from), "{relationship}");
            assert!(ids.contains(text(relationship, "relatedSpdxElement")), "{relationship}");
        }
        let serde = packages.iter().find(|it| it["name"] == "serde").unwrap();
        assert_eq!(serde["checksums"][0]["algorithm"], "SHA256");
        assert!(
            text(&serde["externalRefs"][0], "referenceLocator").starts_with("pkg:cargo/serde@")
        );
        assert!(text(serde, "downloadLocation").ends_with("/download"));
        let own = &packages[0];
        assert_eq!(
            (&own["name"], &own["licenseDeclared"]),
            (&json!("promptmix"), &json!("Apache-2.0"))
        );
        let llama = packages.iter().find(|it| it["name"] == "llama.cpp").unwrap();
        assert_eq!(llama["licenseDeclared"], "MIT");
    }

    #[test]
    fn the_serial_number_depends_on_the_contents() {
        let model = ModelEntry {
            role: crate::models::Role::Teacher,
            name: "x".to_owned(),
            licence: "llama3.2".to_owned(),
            files: vec![("x.gguf".to_owned(), "models/teacher/x/x.gguf".to_owned())],
        };
        let serial = |text: &str| {
            serde_json::from_str::<Value>(text).unwrap()["serialNumber"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(bill(), bill());
        let other = write(&[], &[model]);
        assert_ne!(serial(&bill()), serial(&other));
        assert_eq!(serial(&other).len(), "urn:uuid:".len() + 36);
    }
}
