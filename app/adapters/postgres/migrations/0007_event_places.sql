-- Where to look for a path or an agent: for spans of the log, the CRC-32 of every path, folder and agent in them. An index
-- entry an event, on long and scattered keys, cost more than the event. What the last span lacks is with the head.
drop index file_events_path;
drop index file_events_agent;
create table file_event_places (
    project integer not null,
    first bigint not null,
    last bigint not null,
    places integer[],
    primary key (project, first)
);
alter table file_event_places alter column places set storage external;
-- places null: anything may be there
insert into file_event_places select project, 1, position, null from log_heads where log = 'files' and position > 0;
alter table log_heads add column places integer[] not null default '{}';
alter table log_heads add column places_from bigint not null default 1;
update log_heads set places_from = position + 1 where log = 'files';

do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace and proname = 'append_files' loop
        execute 'drop function ' || old;
    end loop;
end $$;
