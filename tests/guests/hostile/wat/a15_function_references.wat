;; Has a parameter that is a function of a known type, which is switched off.
(component (core module (type $known (func)) (func (param (ref $known)))))
