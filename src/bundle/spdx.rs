//! The bill of materials in SPDX 2.3 JSON (ISO/IEC 5962), made of the one in CycloneDX: the same
//! packages, hashes, licences and dependencies.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// SPDX requires a time. It is fixed, so that the same contents give the same bytes.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The document of a CycloneDX `bill`.
pub(super) fn document(bill: &Value) -> Value {
    let root = &bill["metadata"]["component"];
    let components = bill["components"].as_array().into_iter().flatten();
    let all: Vec<&Value> = std::iter::once(root).chain(components).collect();
    let ids: BTreeMap<&str, String> = all
        .iter()
        .enumerate()
        .map(|(number, component)| (text(component, "bom-ref"), format!("SPDXRef-{number}")))
        .collect();
    let root_id = &ids[text(root, "bom-ref")];
    let mut relationships = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", root_id)];
    for edge in bill["dependencies"].as_array().into_iter().flatten() {
        let on = edge["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str);
        relationships
            .extend(on.map(|on| relation(&ids[text(edge, "ref")], "DEPENDS_ON", &ids[on])));
    }
    let name = format!("{}-{}", text(root, "name"), text(root, "version"));
    let serial = text(bill, "serialNumber").trim_start_matches("urn:uuid:");
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{name}-{serial}"),
        "creationInfo": {"created": CREATED, "creators": [format!("Tool: {name}")]},
        "packages": all.iter().map(|it| package(it, &ids[text(it, "bom-ref")])).collect::<Vec<_>>(),
        "relationships": relationships,
    })
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

/// The string under `key`, empty if there is none.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn package(component: &Value, id: &str) -> Value {
    let (name, version) = (text(component, "name"), text(component, "version"));
    let licence = &component["licenses"][0]["license"];
    let mut package = json!({
        "SPDXID": id,
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence["id"].as_str().unwrap_or("NOASSERTION"),
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": match text(component, "type") {
            "application" => "APPLICATION",
            "library" => "LIBRARY",
            _ => "OTHER",
        },
    });
    if !version.is_empty() {
        package["versionInfo"] = version.into();
    }
    if let Some(comment) = licence["name"].as_str() {
        package["licenseComments"] = comment.into();
    }
    if let Some(description) = component["description"].as_str() {
        package["description"] = description.into();
    }
    if let Some(hash) = component["hashes"][0]["content"].as_str() {
        package["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": hash}]);
    }
    if let Some(purl) = component["purl"].as_str() {
        let reference = json!({
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        });
        package["externalRefs"] = json!([reference]);
        if component["hashes"].is_array() {
            let crates = "https://crates.io/api/v1/crates";
            package["downloadLocation"] = format!("{crates}/{name}/{version}/download").into();
        }
    }
    package
}
