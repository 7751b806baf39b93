import argilla as rg

settings = rg.Settings(
    fields=[rg.TextField(name="text")],
    questions=[
        rg.LabelQuestion(
            name="label",
            labels=[
                "password_reset",
                "R&D \"lab\" <x>",
                "none of these",
            ],
        ),
        rg.TextQuestion(name="edited", title="The text, corrected", required=False),
    ],
)
