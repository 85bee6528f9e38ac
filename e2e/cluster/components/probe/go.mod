module transship.dev/e2e/probe

go 1.26
