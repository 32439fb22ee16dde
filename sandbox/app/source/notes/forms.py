"""What the pages accept."""

from django import forms

from .models import Note

LONGEST_JOB = 600


class NoteForm(forms.ModelForm):
    """A new note."""

    class Meta:
        model = Note
        fields = ("text", "author")


class JobForm(forms.Form):
    """How long the new job takes, in seconds."""

    seconds = forms.FloatField(min_value=0, max_value=LONGEST_JOB, initial=1, required=False)


class SlowForm(forms.Form):
    """How long the page takes, in seconds; below gunicorn's default timeout of 30."""

    seconds = forms.FloatField(min_value=0, max_value=25, initial=1, required=False)
