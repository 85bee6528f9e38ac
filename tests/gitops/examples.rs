//! The examples and the guide for GitOps.

use serde_json::{Value, json};
use transship::api::ImageMirror;

use super::{admit, documents, repository};

const EXAMPLE: &str = include_str!("../../examples/argocd.yaml");
const FLUX: &str = include_str!("../../examples/flux.yaml");
const GUIDE: &str = include_str!("../../docs/gitops.md");

fn wave(object: &Value) -> i32 {
    object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// Where the only image of a mirror arrives, by the defaults of `path` and `tag`.
fn arrival(mirror: &ImageMirror) -> String {
    let image = mirror.spec.sources[0].image.as_deref().unwrap();
    let (registry, rest) = image.split_once('/').unwrap();
    let (repository, tag) = rest.rsplit_once(':').unwrap();
    let destination = &mirror.spec.destinations[0];
    let path = destination
        .path
        .replace("{registry}", registry)
        .replace("{repository}", repository);
    format!(
        "{}/{path}:{}",
        destination.prefix,
        destination.tag.replace("{tag}", tag)
    )
}

#[tokio::test]
async fn the_deployment_of_the_example_waits_for_its_image() {
    let [mirror, deployment] = &documents(EXAMPLE)[..] else {
        panic!("two objects");
    };
    let admitted = admit(mirror).await.unwrap();
    let typed: ImageMirror = serde_json::from_value(admitted).unwrap();
    assert!(wave(mirror) < wave(deployment));
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["image"], arrival(&typed));
    // Objects of one wave that are not in one namespace would be another example.
    assert_eq!(
        mirror["metadata"]["namespace"],
        deployment["metadata"]["namespace"]
    );
    serde_json::from_value::<k8s_openapi::api::apps::v1::Deployment>(deployment.clone()).unwrap();
}

#[tokio::test]
async fn a_slip_of_the_pen_in_the_example_would_be_noticed() {
    let refusal = |change: fn(&mut Value)| {
        let mut mirror = documents(EXAMPLE).swap_remove(0);
        change(&mut mirror);
        async move { admit(&mirror).await.unwrap_err() }
    };
    let unknown = refusal(|mirror| mirror["spec"]["source"] = json!([])).await;
    assert!(unknown.contains("spec.source"), "{unknown}");
    let short = refusal(|mirror| mirror["spec"]["interval"] = json!("1s")).await;
    assert!(short.contains("between 10s and 8760h"), "{short}");
    let image = refusal(|mirror| mirror["spec"]["sources"][0]["image"] = json!("Nginx")).await;
    assert!(image.contains("spec.sources[0].image"), "{image}");
}

/// Every value of `written` stands in `stored` at the same place.
fn assert_kept(written: &Value, stored: &Value, place: &str) {
    match written {
        Value::Object(members) => {
            for (name, value) in members {
                assert_kept(value, &stored[name], &format!("{place}.{name}"));
            }
        }
        Value::Array(items) => {
            assert_eq!(
                Some(items.len()),
                stored.as_array().map(Vec::len),
                "{place}"
            );
            for (index, item) in items.iter().enumerate() {
                assert_kept(item, &stored[index], &format!("{place}[{index}]"));
            }
        }
        _ => assert_eq!(written, stored, "{place}"),
    }
}

/// What would be stored in another way than it was written would be a difference for ever.
#[tokio::test]
async fn what_stands_in_git_is_stored_as_it_was_written() {
    for file in [EXAMPLE, include_str!("../../examples/mirror.yaml")] {
        let written = documents(file).swap_remove(0);
        let stored = admit(&written).await.unwrap();
        assert_kept(&written, &stored, "");
        // Applying what is stored changes nothing either, nor does what the operator makes of it.
        assert_eq!(admit(&stored).await.unwrap(), stored);
        let typed: ImageMirror = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(json!(typed.spec), stored["spec"]);
    }
}

#[test]
fn the_apps_of_the_example_wait_for_the_images() {
    let [images, apps] = &documents(FLUX)[..] else {
        panic!("two objects");
    };
    assert_eq!(images["spec"]["wait"], true);
    assert_eq!(
        apps["spec"]["dependsOn"][0]["name"],
        images["metadata"]["name"]
    );
}

/// What the guide names is there, and what it quotes is what the file says.
#[test]
fn the_guide_names_files_that_exist() {
    let paths: Vec<_> = GUIDE
        .split(['`', ' ', '(', ')', '\n'])
        .filter(|word| {
            [
                "charts/",
                "examples/",
                "docs/",
                "../charts/",
                "../examples/",
            ]
            .iter()
            .any(|directory| word.starts_with(directory))
        })
        .collect();
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        let path = path.trim_start_matches("../");
        assert!(repository(path).exists(), "{path}");
    }
}
