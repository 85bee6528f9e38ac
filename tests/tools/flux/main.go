// Flux judges an object with Flux's own code: by the health check expressions of a Kustomization, and by kstatus,
// which is what it does without expressions.
//
//	{"kustomization": KUSTOMIZATION, "object": OBJECT} on the standard input; both verdicts on the output, each a
//	line: Current, Failed, InProgress or Terminating
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func main() {
	log.SetFlags(0)
	var input struct {
		Kustomization struct {
			Spec struct {
				HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
			} `json:"spec"`
		} `json:"kustomization"`
		Object *unstructured.Unstructured `json:"object"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		log.Fatal(err)
	}
	for _, check := range input.Kustomization.Spec.HealthCheckExprs {
		if check.APIVersion != input.Object.GetAPIVersion() || check.Kind != input.Object.GetKind() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			log.Fatal(err)
		}
		result, err := evaluator.Evaluate(context.Background(), input.Object)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Status)
		result, err = status.Compute(input.Object)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Status)
		return
	}
	log.Fatal("no expressions for this kind")
}
