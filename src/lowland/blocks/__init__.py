"""Parts of methods: filters and schedules."""
