//! The document as SPDX 2.3 writes it in JSON. Fields stand in the order of their names, as canonical JSON has them.

use serde::Serialize;

pub(super) const NO_ASSERTION: &str = "NOASSERTION";

#[derive(Serialize)]
pub(super) struct Document {
    #[serde(rename = "SPDXID")]
    pub id: &'static str,
    #[serde(rename = "creationInfo")]
    pub creation: Creation,
    #[serde(rename = "dataLicense")]
    pub data_license: &'static str,
    #[serde(rename = "documentNamespace")]
    pub namespace: String,
    #[serde(rename = "hasExtractedLicensingInfos", skip_serializing_if = "Vec::is_empty")]
    pub extracted: Vec<ExtractedText>,
    pub name: String,
    pub packages: Vec<Package>,
    pub relationships: Vec<Relationship>,
    #[serde(rename = "spdxVersion")]
    pub version: &'static str,
}

#[derive(Serialize)]
pub(super) struct Creation {
    pub created: String,
    pub creators: Vec<String>,
    #[serde(rename = "licenseListVersion")]
    pub license_list: String,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct ExtractedText {
    #[serde(rename = "extractedText")]
    pub text: String,
    #[serde(rename = "licenseId")]
    pub id: String,
    pub name: String,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct Package {
    #[serde(rename = "SPDXID")]
    pub id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(rename = "copyrightText")]
    pub copyright: &'static str,
    #[serde(rename = "downloadLocation")]
    pub location: String,
    #[serde(rename = "externalRefs", skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    #[serde(rename = "filesAnalyzed")]
    pub files_analyzed: bool,
    #[serde(rename = "licenseConcluded")]
    pub concluded: String,
    #[serde(rename = "licenseDeclared")]
    pub declared: String,
    pub name: String,
    #[serde(rename = "primaryPackagePurpose", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<&'static str>,
    #[serde(rename = "supplier", skip_serializing_if = "Option::is_none")]
    pub supplier: Option<&'static str>,
    #[serde(rename = "versionInfo", skip_serializing_if = "String::is_empty")]
    pub version: String,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct Checksum {
    pub algorithm: &'static str,
    #[serde(rename = "checksumValue")]
    pub value: String,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<&'static str>,
    #[serde(rename = "referenceCategory")]
    pub category: &'static str,
    #[serde(rename = "referenceLocator")]
    pub locator: String,
    #[serde(rename = "referenceType")]
    pub kind: &'static str,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Relationship {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(rename = "relatedSpdxElement")]
    pub to: String,
    #[serde(rename = "relationshipType")]
    pub kind: &'static str,
    #[serde(rename = "spdxElementId")]
    pub from: String,
}

impl Package {
    /// Makes a package of which nothing but its name is known.
    pub(super) fn new(id: String, name: impl Into<String>) -> Self {
        Self {
            id,
            checksums: Vec::new(),
            comment: None,
            copyright: NO_ASSERTION,
            location: NO_ASSERTION.to_owned(),
            references: Vec::new(),
            files_analyzed: false,
            concluded: NO_ASSERTION.to_owned(),
            declared: NO_ASSERTION.to_owned(),
            name: name.into(),
            purpose: None,
            supplier: None,
            version: String::new(),
        }
    }

    pub(super) fn purl(mut self, purl: String) -> Self {
        self.references.push(Reference {
            comment: None,
            category: "PACKAGE-MANAGER",
            locator: purl,
            kind: "purl",
        });
        self
    }
}
