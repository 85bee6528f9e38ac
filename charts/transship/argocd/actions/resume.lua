-- Goes on, and at once.
obj.spec.suspend = false
return obj
