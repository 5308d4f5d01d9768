//! Who may do what.

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{ConfigMap, Secret, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    config::AuthInfo,
};
use serde_json::json;

use crate::{
    error::Fault,
    scene::{Scene, wrong},
};

/// How long the token may be used, in seconds: the shortest that the API server gives.
const LIFETIME: u32 = 600;

/// A `ServiceAccount` may do what a Role lets it, and nothing else.
pub(super) async fn refuses_and_lets(scene: Scene) -> Result<(), Fault> {
    let name = "reader";
    scene.make::<ServiceAccount>(json!({"metadata": {"name": name}})).await?;
    let reader = come_as(&scene, name).await?;
    let maps: Api<ConfigMap> = Api::namespaced(reader.clone(), &scene.namespace);
    let secrets: Api<Secret> = Api::namespaced(reader, &scene.namespace);
    refused("ConfigMaps", maps.list(&ListParams::default()).await)?;

    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    scene.make::<Role>(json!({"metadata": {"name": name}, "rules": rules})).await?;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
    let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": scene.namespace});
    let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]});
    scene.make::<RoleBinding>(binding).await?;
    scene
        .until("a Role does not let a ServiceAccount list ConfigMaps", async || {
            match maps.list(&ListParams::default()).await.map_err(Fault::from) {
                Ok(_) => Ok(None),
                Err(fault) if fault.code() == Some(403) => Ok(Some(fault.to_string())),
                Err(fault) => Err(fault),
            }
        })
        .await?;
    refused("Secrets", secrets.list(&ListParams::default()).await)
}

/// A client that has only the token of a `ServiceAccount`.
async fn come_as(scene: &Scene, account: &str) -> Result<Client, Fault> {
    let accounts: Api<ServiceAccount> = scene.api();
    let request: TokenRequest = serde_json::from_value(json!({
        "spec": {"audiences": [], "expirationSeconds": LIFETIME},
    }))
    .map_err(|error| wrong(error.to_string()))?;
    let request = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    let token = request.status.and_then(|status| status.token);
    let token = token.ok_or_else(|| wrong("a ServiceAccount was given no token"))?;
    let mut config = scene.config.clone();
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Ok(Client::try_from(config)?)
}

fn refused<T>(what: &str, listed: Result<T, kube::Error>) -> Result<(), Fault> {
    match listed.map_err(Fault::from) {
        Ok(_) => Err(wrong(format!("a ServiceAccount that may not list {what} is let"))),
        Err(fault) if fault.code() == Some(403) => Ok(()),
        Err(fault) => Err(fault),
    }
}
