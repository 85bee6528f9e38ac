//! The fields of a resource as a page for people, made from its definition: the same words that
//! `kubectl explain` shows. Pure: a definition in, Markdown out.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

/// Fields whose content Kubernetes defines, and describes itself.
const CONDITIONS: &str = "status.conditions[]";

/// The page about the newest version of a resource.
#[must_use]
pub fn reference(definition: &CustomResourceDefinition) -> String {
    let names = &definition.spec.names;
    let mut page = format!(
        "# {}\n\nMade from the definition by `make definitions`; `kubectl explain {}.spec` shows the same.\n",
        names.kind,
        names.singular.as_deref().unwrap_or(&names.plural),
    );
    let Some(version) = definition.spec.versions.last() else {
        return page;
    };
    let schema = version
        .schema
        .as_ref()
        .and_then(|validation| validation.open_api_v3_schema.as_ref());
    let _ = writeln!(
        page,
        "\nAPI group `{}`, version `{}`, short names `{}`.",
        definition.spec.group,
        version.name,
        names
            .short_names
            .as_deref()
            .unwrap_or_default()
            .join("`, `"),
    );
    for part in ["spec", "status"] {
        let Some(properties) = schema
            .and_then(|schema| schema.properties.as_ref())
            .and_then(|properties| properties.get(part))
        else {
            continue;
        };
        let _ = write!(
            page,
            "\n## {part}\n\n| field | type | meaning |\n|---|---|---|\n"
        );
        write_fields(&mut page, part, properties);
    }
    page
}

fn write_fields(page: &mut String, path: &str, schema: &JSONSchemaProps) {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let description = field.description.as_deref().unwrap_or_default();
        let needed = if required.contains(name) {
            " **Required.**"
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "| `{path}` | {} | {}{needed} |",
            type_of(field),
            description
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .replace('|', "\\|"),
        );
        write_nested(page, &path, field);
    }
}

fn write_nested(page: &mut String, path: &str, field: &JSONSchemaProps) {
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => {
            let path = format!("{path}[]");
            if path != CONDITIONS {
                write_fields(page, &path, items);
            }
        }
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => write_fields(page, path, field),
    }
}

/// The type with what bounds it and what it is when it is left out.
fn type_of(field: &JSONSchemaProps) -> String {
    let mut text = match (&field.enum_, field.type_.as_deref()) {
        (Some(values), _) => {
            let values = values.iter().filter_map(|value| value.0.as_str());
            values
                .map(|value| format!("`{value}`"))
                .collect::<Vec<_>>()
                .join(", ")
        }
        (None, Some("array")) => {
            let least = field.min_items.unwrap_or_default();
            let most = field.max_items.unwrap_or(i64::MAX);
            format!("list of {least} to {most}")
        }
        (None, kind) => field
            .format
            .as_deref()
            .or(kind)
            .unwrap_or("object")
            .to_owned(),
    };
    if let (Some(least), Some(most)) = (field.minimum, field.maximum) {
        let _ = write!(text, ", {least} to {most}");
    }
    if let Some(most) = field.max_length {
        let _ = write!(text, ", at most {most} characters");
    }
    if let Some(default) = &field.default
        && !default.0.is_object()
    {
        let _ = write!(
            text,
            "; default `{}`",
            default.0.to_string().trim_matches('"')
        );
    }
    text
}
