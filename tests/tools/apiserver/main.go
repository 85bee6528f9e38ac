// Apiserver admits an object the way the API server does by the definition of its kind: unknown fields,
// defaults, the schema, and the rules in CEL.
//
//	{"definition": CUSTOMRESOURCEDEFINITION, "object": OBJECT} on the standard input; the object with its
//	defaults on the output
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

func main() {
	log.SetFlags(0)
	var input struct {
		Definition apiextensionsv1.CustomResourceDefinition `json:"definition"`
		Object     *unstructured.Unstructured               `json:"object"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		log.Fatal(err)
	}
	object := input.Object.Object
	if err := admit(&input.Definition, input.Object.GroupVersionKind().Version, object); err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(object); err != nil {
		log.Fatal(err)
	}
}

func admit(definition *apiextensionsv1.CustomResourceDefinition, version string, object map[string]any) error {
	var properties apiextensions.JSONSchemaProps
	for _, candidate := range definition.Spec.Versions {
		if candidate.Name != version {
			continue
		}
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
			candidate.Schema.OpenAPIV3Schema, &properties, nil)
		if err != nil {
			return err
		}
	}
	structural, err := schema.NewStructural(&properties)
	if err != nil {
		return err
	}
	unknown := pruning.PruneWithOptions(object, structural, true,
		schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return fmt.Errorf("unknown fields: %v", unknown)
	}
	defaulting.Default(object, structural)
	validator, _, err := validation.NewSchemaValidator(&properties)
	if err != nil {
		return err
	}
	if errs := validation.ValidateCustomResource(nil, object, validator); len(errs) > 0 {
		return errs.ToAggregate()
	}
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	errs, _ := rules.Validate(context.Background(), nil, structural, object, nil, celconfig.RuntimeCELCostBudget)
	return errs.ToAggregate()
}
