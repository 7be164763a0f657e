-- The files log's head is its last row: there is no row of its own that every append has to replace. Its row in log_heads
-- is where upkeep last saw it: a log that is shorter than that, or other, has lost its end. What is searched for by path or
-- agent is found in spans that upkeep makes (places.py); what is behind the last span is read as it is.
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('append_files', 'append_files_early', 'open_files') loop
        execute 'drop routine ' || old;
    end loop;
end $$;
-- what the row held of the span under way
insert into file_event_places select project, places_from, position, array(select distinct unnest(places))
    from log_heads where log = 'files' and position >= places_from;
alter table log_heads drop column places, drop column places_from;
-- the rows are read as often as a head is asked for, and replaced every few seconds
create view heads as
    select p.id as project, 'files' as log, coalesce(e.position, 0) as position, coalesce(e.hash, decode(repeat('00', 32), 'hex')) as hash
    from projects p left join lateral (
        select f.position, f.hash from file_events f where f.project = p.id order by f.position desc limit 1
    ) e on true
    union all select project, log, position, hash from log_heads where log <> 'files';
