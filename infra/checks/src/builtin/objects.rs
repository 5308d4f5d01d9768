//! Objects as such: defined, watched, owned.

use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::core::v1::ConfigMap,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchParams},
    core::WatchEvent,
};
use serde_json::{Value, json};

use crate::{
    error::Fault,
    scene::{Scene, wrong},
};

/// How often the object that is watched is changed.
const CHANGES: usize = 3;

fn group(scene: &Scene) -> String {
    // Definitions belong to no namespace: the name of this one makes theirs their own.
    format!("{}.kdistro.dev", scene.namespace)
}

/// Removes what checks made outside of the namespace, where it is left.
pub(crate) async fn remove(scene: &Scene) -> Result<(), Fault> {
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    match scene.delete((&definitions, &format!("widgets.{}", group(scene)))).await {
        Err(fault) if fault.code() != Some(404) => Err(fault),
        _ => Ok(()),
    }
}

/// A resource is defined, its objects are made, read and held to its schema, and it is removed.
pub(super) async fn custom_resource(scene: Scene) -> Result<(), Fault> {
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    let definition = definitions.create(&PostParams::default(), &define(&scene)?).await?;
    let name = definition.metadata.name.unwrap_or_default();
    let kind = ApiResource {
        group: group(&scene),
        version: "v1".to_owned(),
        api_version: format!("{}/v1", group(&scene)),
        kind: "Widget".to_owned(),
        plural: "widgets".to_owned(),
    };
    let widgets: Api<DynamicObject> =
        Api::namespaced_with(scene.client.clone(), &scene.namespace, &kind);
    let widget = |name: &str, size: Value| {
        let mut widget = DynamicObject::new(name, &kind);
        widget.data = json!({"spec": {"size": size}});
        widget
    };
    let good = widget("good", json!(3));
    scene
        .until("the new resource is not served", async || {
            match widgets.create(&PostParams::default(), &good).await.map_err(Fault::from) {
                Ok(_) => Ok(None),
                Err(fault) if fault.code() == Some(404) => Ok(Some(fault.to_string())),
                Err(fault) => Err(fault),
            }
        })
        .await?;
    if widgets.get("good").await?.data.pointer("/spec/size") != Some(&json!(3)) {
        return Err(wrong("an object of a new resource is not read as it was made"));
    }
    for bad in [json!(9), json!("large")] {
        match widgets.create(&PostParams::default(), &widget("bad", bad)).await.map_err(Fault::from)
        {
            Err(fault) if fault.code() == Some(422) => {}
            Err(fault) => return Err(fault),
            Ok(_) => return Err(wrong("an object is taken that its schema forbids")),
        }
    }
    remove(&scene).await?;
    scene.gone("the removed definition", (&definitions, &name)).await
}

fn define(scene: &Scene) -> Result<CustomResourceDefinition, Fault> {
    let size = json!({"type": "integer", "maximum": 5});
    let spec = json!({"type": "object", "properties": {"size": size}});
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    let definition = json!({
        "metadata": {"name": format!("widgets.{}", group(scene))},
        "spec": {
            "group": group(scene),
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            }],
        },
    });
    serde_json::from_value(definition).map_err(|error| wrong(error.to_string()))
}

/// A watch tells of an object's beginning, of each change and of its end, in order.
pub(super) async fn watch(scene: Scene) -> Result<(), Fault> {
    let (name, maps) = ("watched", scene.api::<ConfigMap>());
    let begin = maps.list(&ListParams::default()).await?.metadata.resource_version;
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let events = maps.watch(&only, &begin.unwrap_or_default()).await?;
    let change =
        |count: usize| json!({"metadata": {"name": name}, "data": {"count": count.to_string()}});
    scene.make::<ConfigMap>(change(0)).await?;
    for count in 1..=CHANGES {
        maps.patch(name, &PatchParams::default(), &Patch::Merge(change(count))).await?;
    }
    scene.delete((&maps, name)).await?;

    let mut seen = Vec::new();
    let expected = (1..=CHANGES).map(|count| format!("changed {count}"));
    let expected: Vec<_> = ["added 0".to_owned()].into_iter().chain(expected).collect();
    read_to_end(&scene, events, &mut seen).await?;
    if seen == expected {
        return Ok(());
    }
    Err(wrong(format!("a watch saw {}, not {}", seen.join(", "), expected.join(", "))))
}

/// Writes down what a watch tells, until the object is deleted.
async fn read_to_end(
    scene: &Scene,
    events: impl Stream<Item = Result<WatchEvent<ConfigMap>, kube::Error>>,
    seen: &mut Vec<String>,
) -> Result<(), Fault> {
    let mut events = std::pin::pin!(events);
    let count = |map: ConfigMap| map.data.unwrap_or_default().remove("count").unwrap_or_default();
    scene
        .until("the watch did not see the end of the object", async || {
            match events.next().await.transpose()? {
                Some(WatchEvent::Added(map)) => seen.push(format!("added {}", count(map))),
                Some(WatchEvent::Modified(map)) => seen.push(format!("changed {}", count(map))),
                Some(WatchEvent::Deleted(_)) => return Ok(None),
                Some(WatchEvent::Bookmark(_)) => {}
                Some(WatchEvent::Error(status)) => {
                    return Err(wrong(format!("a watch failed: {status}")));
                }
                None => return Err(wrong("a watch ended by itself")),
            }
            Ok(Some(seen.join(", ")))
        })
        .await
}

/// What an object owned is removed after it, and nothing else is.
pub(super) async fn garbage(scene: Scene) -> Result<(), Fault> {
    let maps = scene.api::<ConfigMap>();
    let owner: ConfigMap = scene.make(json!({"metadata": {"name": "owner"}})).await?;
    let reference = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid,
    });
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": [reference]}});
    scene.make::<ConfigMap>(owned).await?;
    scene.make::<ConfigMap>(json!({"metadata": {"name": "free"}})).await?;
    scene.delete((&maps, "owner")).await?;
    scene.gone("what the removed object owned", (&maps, "owned")).await?;
    match maps.get_opt("free").await? {
        Some(_) => Ok(()),
        None => Err(wrong("an object without an owner was collected, too")),
    }
}
