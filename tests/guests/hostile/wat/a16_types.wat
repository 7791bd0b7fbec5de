;; A million types.
(component
  (core module
    (;repeat 1000000;)(type (func (param i32) (result i64)))(;end;)
  )
)
