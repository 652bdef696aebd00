"""From files on disk to uint8 pictures. numpy and Pillow; never torch."""
