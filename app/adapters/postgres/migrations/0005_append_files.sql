-- Every look-up by a list of keys is a lateral subquery that cannot be flattened (offset 0): one index look-up a key. As a join,
-- a planner without statistics took all rows of the project first and compared each with the list.

-- The rows that a batch may touch: names asked for, nodes asked for, all their names, and all directories above.
create or replace function tree_rows(p_project integer, p_inodes bigint[], p_parents bigint[], p_names bytea[])
returns table (kind text, inode bigint, since bigint, parent bigint, name bytea, node bytea) language plpgsql stable as $$
begin
    return query
    with recursive asked as (
        select d.parent, d.name, d.inode, d.since
        from unnest(p_parents, p_names) as k (parent, name)
        cross join lateral (select * from dentries t where t.project = p_project and t.parent = k.parent and t.name = k.name offset 0) d
    ), above as (
        select d.parent, d.name, d.inode, d.since from unnest(p_inodes) as k (inode)
        cross join lateral (select * from dentries t where t.project = p_project and t.inode = k.inode offset 0) d
        union
        select d.parent, d.name, d.inode, d.since from (select distinct a.parent from above a) k
        cross join lateral (select * from dentries t where t.project = p_project and t.inode = k.parent offset 0) d
    ), names as (select * from asked union select * from above),
    wanted as (select n.inode from names n union select n.parent from names n union select unnest(p_inodes))
    select 'd', n.inode, n.since, n.parent, n.name, null::bytea from names n
    union all
    select 'n', i.inode, i.since, 0::bigint, null::bytea, i.node from wanted w
        cross join lateral (select * from inodes t where t.project = p_project and t.inode = w.inode offset 0) i
    union all
    select 'a', a.inode, a.since, a.target, null::bytea, null::bytea from wanted w
        cross join lateral (select * from aliases t where t.project = p_project and t.inode = w.inode offset 0) a;
end $$;
