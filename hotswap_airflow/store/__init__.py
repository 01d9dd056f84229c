"""What is kept on this machine: workflow folders, and contents by digest."""
