-- settle_tree as in 0015, but content that waits meets its ends by hash: each row of the one was held against each of the other,
-- and where four writers had left 2,000 events waiting that was half of the work. A writer's sessions forbid hash joins (a plan
-- of a table that was small must not scan it when it is large); what is joined so here is never a table. And of a project that
-- is not there all statements run on nothing, as those of append_files do: to plan them took 8 ms of a new connection's first.
-- Put into the tables what waits, up to now; unless p_must, only where nobody else is at it. Its lock is taken after the log's,
-- never before.
create or replace function settle_tree(p_project integer, p_must boolean) returns void language plpgsql set enable_hashjoin = on as $$
declare last bigint;
begin
    if p_project > 0 and not exists (select 1 from tree_waiting where project = p_project) then
        return;
    end if;
    if p_must then
        perform pg_advisory_xact_lock(p_project, 5);
    elsif not pg_try_advisory_xact_lock(p_project, 5) then
        return;
    end if;
    select max(position) into last from tree_waiting where project = p_project;
    if last is null and p_project > 0 then
        return;
    end if;
    with changed as materialized (
        select distinct on (w.inode) w.inode, w.since, w.node from waiting_nodes w
        where w.project = p_project and w.position <= last order by w.inode, w.since desc
    ), past as (
        insert into inodes_past select p_project, w.n[k], w.n[k + 1], w.n[k + 2] + w.step, w.b[j]
        from tree_waiting w cross join lateral (select generate_series(w.s[1], w.s[2], 3) as k, generate_series(w.s[3], w.s[4]) as j) r
        where w.project = p_project and w.position <= last and w.s[1] > 0
    ), ended as (
        delete from inodes where ctid = any(array(
            select (select i.ctid from inodes i where i.project = p_project and i.inode = c.inode) from changed c where c.node is null
        ))
    ) insert into inodes select p_project, c.inode, c.since, c.node from changed c where c.node is not null
        on conflict on constraint inodes_pkey do update set since = excluded.since, node = excluded.node;
    with changed as materialized (
        select distinct on (w.parent, w.name) w.parent, w.name, w.inode, w.since from waiting_names w
        where w.project = p_project and w.position <= last order by w.parent, w.name, w.since desc
    ), past as (
        insert into dentries_past select p_project, w.n[k], w.b[j], w.n[k + 1], w.n[k + 2], w.n[k + 3] + w.step
        from tree_waiting w cross join lateral (select generate_series(w.s[17], w.s[18], 4) as k, generate_series(w.s[19], w.s[20]) as j) r
        where w.project = p_project and w.position <= last and w.s[17] > 0
    ), ended as (
        delete from dentries where ctid = any(array(
            select (select d.ctid from dentries d where d.project = p_project and d.parent = c.parent and d.name = c.name)
            from changed c where c.inode is null
        ))
    ) insert into dentries select p_project, c.parent, c.name, c.inode, c.since from changed c where c.inode is not null
        on conflict on constraint dentries_pkey do update set inode = excluded.inode, since = excluded.since;
    with changed as materialized (
        select distinct on (w.inode) w.inode, w.target, w.since from waiting_aliases w
        where w.project = p_project and w.position <= last order by w.inode, w.since desc
    ) insert into aliases select p_project, c.inode, c.target, c.since from changed c
        on conflict on constraint aliases_pkey do update set target = excluded.target, since = excluded.since;
    with ends as materialized (
        select inode, first, past, until from waiting_ends where project = p_project and position <= last
    ), gone as materialized ( -- rows of the table that ended
        select distinct on (c.place) c.*, e.until from ends e cross join lateral (
            select h.ctid as place, h.* from content_chunks h where h.project = p_project and h.inode = e.inode
                and h.index >= e.first and h.index < e.past and h.since < e.until offset 0
        ) as c order by c.place, e.until
    ), waits as materialized ( -- once: what is behind the view is unpacked anew each time that it is read
        select inode, index, hash, size_bytes, since from waiting_chunks where project = p_project and position <= last
    ), made as materialized ( -- rows that waited, each with its end; ends of one chunk are met by equality, not by range
        select distinct on (m.inode, m.index, m.since) m.* from (
            select w.*, e.until from waits w left join ends e on e.inode = w.inode and e.first = w.index
                and e.past = w.index + 1 and e.until > w.since
            union all
            select w.*, e.until from waits w join ends e on e.inode = w.inode and e.first <= w.index and e.past > w.index
                and e.past - e.first > 1 and e.until > w.since
        ) as m order by m.inode, m.index, m.since, m.until
    ), kept as (
        insert into content_chunks_past select p_project, inode, index, hash, size_bytes, since, until from gone
        union all select p_project, inode, index, hash, size_bytes, since, until from made where until is not null
        union all select p_project, inode, index, hash, size_bytes, since, until from waiting_chunks_past
            where project = p_project and position <= last
    ), ended as (
        delete from content_chunks where ctid = any(array(
            select g.place from gone g where not exists (
                select 1 from made m where m.inode = g.inode and m.index = g.index and m.until is null
            )
        ))
    ) insert into content_chunks select distinct on (m.inode, m.index) p_project, m.inode, m.index, m.hash, m.size_bytes, m.since
        from made m where m.until is null order by m.inode, m.index, m.since desc
        on conflict on constraint content_chunks_pkey do update
        set hash = excluded.hash, size_bytes = excluded.size_bytes, since = excluded.since;
    delete from tree_waiting where project = p_project and position <= last;
end $$;
