;; As many loops as one function may have, each with variables that all the others change: dear to compile, small to store.
(component
  (core module
    (func (local i64 i64)
      (;repeat 60000;)
      loop
        local.get 0
        local.get 1
        i64.add
        local.set 0
        local.get 0
        i32.wrap_i64
        br_if 0
      end
      (;end;)
    )
  )
)
