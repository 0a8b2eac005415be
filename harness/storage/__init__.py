"""Where records lie and how they get there whole: files, objects, claims, segments, and the store over them."""
