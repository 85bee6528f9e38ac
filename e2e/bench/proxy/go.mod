module transship.dev/bench/proxy

go 1.26
