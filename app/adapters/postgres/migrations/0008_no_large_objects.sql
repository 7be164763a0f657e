-- Large objects are open to everyone by default: the reading role could fill the disk with them. Nobody here uses them.
do $$
begin
    revoke execute on function
        lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea), lowrite(integer, bytea)
    from public;
exception when insufficient_privilege then
    raise notice 'large objects stay open: who migrates does not own the catalogue';
end $$;
