-- Starts nothing from now on; a run or a build that has started is finished.
obj.spec.suspend = true
return obj
